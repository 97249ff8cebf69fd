//! The data plane of Steelyard.
