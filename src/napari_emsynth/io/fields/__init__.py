"""Displacement fields to files and back, in every format that other tools read.

Laws: what is written is read back, bit-identically in our own formats; nothing larger than a strip of a section is
held; a file appears when it is complete; a field with a value that is not a number is refused, not applied.
"""

from napari_emsynth.io.fields.read import FieldFile, open_field, read_field, read_field_record
from napari_emsynth.io.fields.table import FIELD_SUFFIXES, FORMATS, format_of
from napari_emsynth.io.fields.write import check_field_output, check_voxels_known, field_of, write_field

__all__ = [
    "FIELD_SUFFIXES", "FORMATS", "FieldFile", "check_field_output", "check_voxels_known", "field_of", "format_of",
    "open_field", "read_field", "read_field_record", "write_field",
]  # fmt: skip
