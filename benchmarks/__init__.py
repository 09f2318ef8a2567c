"""How fast Cloche is, measured in one run beside a bare ASGI echo (the limit) and the server that tutorials show."""
