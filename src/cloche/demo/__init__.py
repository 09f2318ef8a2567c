"""The demo: real flights, real models, a real server. Needs the extra `cloche[demo]`."""
