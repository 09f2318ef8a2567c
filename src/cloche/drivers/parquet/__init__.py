"""Inferences in Parquet files, by pyarrow: an export is one, and a log is many of them in an object store."""

from cloche.drivers.parquet.export import ParquetFile
from cloche.drivers.parquet.leading import ParquetLeadership
from cloche.drivers.parquet.reader import ParquetReader
from cloche.drivers.parquet.sink import ParquetSink

__all__ = ["ParquetFile", "ParquetLeadership", "ParquetReader", "ParquetSink"]
