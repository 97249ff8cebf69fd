//! What a pick knows of the request that it is for.

use crate::endpoint::Endpoint;
use std::sync::Arc;

/// A request in search of an endpoint. Without a key and before the first attempt it costs nothing.
#[derive(Debug, Clone, Default)]
pub struct Seeker {
    /// The hash of what ties requests together, for policies that go by one; see [`crate::key`].
    pub key: Option<u64>,
    /// The name of the endpoint that its session is with; see [`crate::session`].
    pub session: Option<u64>,
    tried: Vec<u32>,
}

impl Seeker {
    /// A request with this key that has been nowhere yet.
    pub fn of(key: Option<u64>) -> Self {
        Self { key, ..Self::default() }
    }

    /// Notes an endpoint that has been tried, so that it is not chosen again.
    pub fn exclude(&mut self, endpoint: &Arc<Endpoint>) {
        self.tried.push(endpoint.id());
    }

    /// Whether the endpoint of this id has been tried.
    #[inline]
    pub fn excludes(&self, id: u32) -> bool {
        !self.tried.is_empty() && self.has_tried(id)
    }

    #[cold]
    fn has_tried(&self, id: u32) -> bool {
        self.tried.contains(&id)
    }

    /// Whether none has been tried.
    pub fn excludes_none(&self) -> bool {
        self.tried.is_empty()
    }
}
