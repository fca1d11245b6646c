//! The block mosaic: which squares show which blocks, for any number of blocks and any width.
//!
//! Every block has its own square while they fit; a larger file shares one square between consecutive blocks, so that
//! the squares never become too small to see.

/// The sides of a square that are tried, largest first, in CSS pixels.
const SIDES: [u32; 4] = [18, 14, 11, 8];
/// The space between squares in CSS pixels.
const GAP: u32 = 2;
/// The most CSS pixels that a mosaic is high.
const MAX_HEIGHT: u32 = 132;

/// How a mosaic is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    /// The side of a square in CSS pixels.
    pub(crate) side: u32,
    /// Squares per row.
    pub(crate) columns: u32,
    /// Rows.
    pub(crate) rows: u32,
    /// Blocks per square.
    pub(crate) blocks_per_square: u32,
}

/// The blocks of one square, counted by what has happened to them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Square {
    pub(crate) blocks: u32,
    pub(crate) requested: u32,
    pub(crate) storing: u32,
    pub(crate) verified: u32,
}

impl Layout {
    /// Fits `blocks` into `width` CSS pixels with the largest squares that do, and with as few blocks per square as
    /// the smallest squares allow.
    pub(crate) fn fit(blocks: u32, width: u32) -> Self {
        let blocks = blocks.max(1);
        for side in SIDES {
            let (columns, rows) = capacity(side, width);
            if columns.saturating_mul(rows) >= blocks {
                return Self::with(side, columns, blocks, 1);
            }
        }
        let side = SIDES[SIDES.len() - 1];
        let (columns, rows) = capacity(side, width);
        Self::with(side, columns, blocks, blocks.div_ceil(columns.saturating_mul(rows)))
    }

    fn with(side: u32, columns: u32, blocks: u32, blocks_per_square: u32) -> Self {
        let squares = blocks.div_ceil(blocks_per_square);
        Self { side, columns, rows: squares.div_ceil(columns), blocks_per_square }
    }

    /// The height in CSS pixels.
    pub(crate) fn height(self) -> u32 {
        self.rows * (self.side + GAP) - GAP
    }

    /// The left and top edge of a square in CSS pixels.
    pub(crate) fn position(self, square: u32) -> (u32, u32) {
        let pitch = self.side + GAP;
        (square % self.columns * pitch, square / self.columns * pitch)
    }

    /// The squares of a mosaic, first to last.
    pub(crate) fn squares(self, mosaic: &str) -> impl Iterator<Item = Square> + '_ {
        let length = usize::try_from(self.blocks_per_square).unwrap_or(usize::MAX);
        mosaic.as_bytes().chunks(length).map(|blocks| {
            let mut square = Square::default();
            for block in blocks {
                square.blocks += 1;
                match block {
                    b'o' => square.requested += 1,
                    b's' => square.storing += 1,
                    b'#' => square.verified += 1,
                    _ => {}
                }
            }
            square
        })
    }
}

/// How many blocks a mosaic has, and how many of them are verified.
pub(crate) fn verified(mosaic: &str) -> (u64, u64) {
    let verified = mosaic.bytes().filter(|&block| block == b'#').count();
    (verified.try_into().unwrap_or(u64::MAX), mosaic.len().try_into().unwrap_or(u64::MAX))
}

fn capacity(side: u32, width: u32) -> (u32, u32) {
    (((width + GAP) / (side + GAP)).max(1), ((MAX_HEIGHT + GAP) / (side + GAP)).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_blocks_fits_into_any_width() {
        for blocks in [0, 1, 2, 100, 1_000, 4_096, 32_768, 1_000_000] {
            for width in [1, 280, 640, 900, 3_000] {
                let layout = Layout::fit(blocks, width);
                let squares = blocks.max(1).div_ceil(layout.blocks_per_square);
                assert!(layout.height() <= MAX_HEIGHT, "{blocks} in {width}: {layout:?}");
                assert!(layout.columns * (layout.side + GAP) - GAP <= width.max(layout.side), "{layout:?}");
                assert!(layout.columns * layout.rows >= squares, "{blocks} in {width}: {layout:?}");
                assert!(layout.side >= SIDES[SIDES.len() - 1]);
            }
        }
    }

    #[test]
    fn few_blocks_have_large_squares_of_their_own_and_many_share_small_ones() {
        assert_eq!(Layout::fit(10, 640), Layout { side: 18, columns: 32, rows: 1, blocks_per_square: 1 });
        assert_eq!(Layout::fit(4_096, 640).blocks_per_square, 5);
        assert_eq!(Layout::fit(32_768, 640).blocks_per_square, 40);
    }

    #[test]
    fn squares_count_every_block_once() {
        let layout = Layout { side: 8, columns: 4, rows: 1, blocks_per_square: 3 };
        let squares: Vec<_> = layout.squares("#so..##").collect();
        assert_eq!(squares.len(), 3);
        assert_eq!(squares[0], Square { blocks: 3, requested: 1, storing: 1, verified: 1 });
        assert_eq!(squares[1], Square { blocks: 3, requested: 0, storing: 0, verified: 1 });
        assert_eq!(squares[2], Square { blocks: 1, requested: 0, storing: 0, verified: 1 });
        assert_eq!(verified("#so..##"), (3, 7));
    }

    #[test]
    fn squares_stand_in_rows() {
        let layout = Layout { side: 8, columns: 4, rows: 2, blocks_per_square: 1 };
        assert_eq!([0, 3, 4].map(|square| layout.position(square)), [(0, 0), (30, 0), (0, 10)]);
    }
}
