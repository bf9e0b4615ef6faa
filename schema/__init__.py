"""What every setting of a run, every key of its record and every column of a table means: typed, and free of torch.

`experiments` and `analysis` both import this package, and no other place says what a key means. A field of a section
carries its type, its range and exactly one mark (`schema.marks`); validation, a run's identity, the rows and columns of
tables and the tables of docs/RECORD.md follow from it.
"""
