//! What the fuzz targets check, shared with the ordinary tests.

pub mod properties;
