//! Moving content from one connection to another.
//!
//! There is never more in memory than one read buffer: a writer that cannot keep up stops the reading. Large bodies in
//! clear text stay in the kernel.

use super::pass::pass;
use crate::codec::{Piece, ReadContent, WriteContent};
use crate::fault::Fault;
use crate::pipes::Pipes;
use crate::timer::{GiveUp, Timer};

/// What has moved.
pub(super) enum Moved<'a> {
    /// A piece that is about to be written.
    Piece(&'a Piece<'a>),
    /// So many bytes that nobody has looked at.
    Passed(usize),
}

impl Moved<'_> {
    /// How many bytes of content that is.
    pub fn size(&self) -> usize {
        match self {
            Self::Piece(Piece::Data(bytes)) => bytes.len(),
            Self::Piece(Piece::End(_)) => 0,
            Self::Passed(count) => *count,
        }
    }
}

/// Moves all content. `patience` says, before each read, when that read gives up; `moved` hears of everything.
pub(super) async fn relay(
    from: &mut impl ReadContent,
    to: &mut impl WriteContent,
    means: (&Pipes, &Timer),
    patience: impl Fn() -> GiveUp,
    mut moved: impl FnMut(Moved<'_>),
) -> Result<(), Fault> {
    loop {
        let Some(piece) = from.arrived()? else {
            to.flush().await?;
            if let Some(source) = from.source()
                && let Some(sink) = to.sink()
                && let Some(count) = Box::pin(pass(source, sink, means, patience())).await?
            {
                from.passed(count);
                moved(Moved::Passed(count));
            } else {
                from.fill(patience()).await?;
            }
            continue;
        };
        moved(Moved::Piece(&piece));
        match piece {
            Piece::Data(bytes) => to.data(bytes).await?,
            Piece::End(trailers) => {
                to.end(trailers).await?;
                return to.flush().await;
            }
        }
    }
}
