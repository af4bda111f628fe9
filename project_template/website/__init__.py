"""The example application: a page on which tasks can be watched. Replace it by yours."""
