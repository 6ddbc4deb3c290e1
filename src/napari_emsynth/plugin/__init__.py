"""The napari face of the package: the only code that knows napari or Qt.

Laws: nothing heavy is imported when a module here is imported (no torch, no methods); layers are read by block
and never written to unless the user asked for *in place*; every figure on the screen comes from a job's result.
Widgets hold no algorithm state: it lives in :class:`~napari_emsynth.plugin.viewer.session.Session`, one a viewer.
"""
