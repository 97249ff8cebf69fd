//! Moving content from one connection to another.
//!
//! There is never more in memory than one read buffer: a writer that cannot keep up stops the reading. Bodies in
//! clear text pass through [`relay`] alone, which is where they could stay in the kernel.

use crate::codec::{Piece, ReadContent, WriteContent};
use crate::fault::Fault;
use crate::timer::GiveUp;

/// How many bytes of content a piece has.
pub(super) fn size(piece: &Piece<'_>) -> usize {
    match piece {
        Piece::Data(bytes) => bytes.len(),
        Piece::End(_) => 0,
    }
}

/// Moves all content. `patience` says, before each read, when that read gives up; `moved` hears of every piece
/// before it is written.
pub(super) async fn relay(
    from: &mut impl ReadContent,
    to: &mut impl WriteContent,
    patience: impl Fn() -> GiveUp,
    mut moved: impl FnMut(&Piece<'_>),
) -> Result<(), Fault> {
    loop {
        let Some(piece) = from.arrived()? else {
            to.flush().await?;
            from.fill(patience()).await?;
            continue;
        };
        moved(&piece);
        match piece {
            Piece::Data(bytes) => to.data(bytes).await?,
            Piece::End(trailers) => {
                to.end(trailers).await?;
                return to.flush().await;
            }
        }
    }
}
