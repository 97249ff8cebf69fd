//! The data plane of Steelyard.

pub mod head;
pub mod http1;
