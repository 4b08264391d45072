"""Every file format, read and written; replay puts a recording where the two cameras were."""
