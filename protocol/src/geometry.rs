//! How a file is cut into blocks.

use serde::{Deserialize, Serialize};
use std::{ops::Range, str::FromStr};

/// The smallest block: 4 KiB.
const MIN_BLOCK_SIZE: u32 = 4 << 10;
/// The largest block: 1 MiB.
const MAX_BLOCK_SIZE: u32 = 1 << 20;
/// A file is cut into at least this many blocks by default.
const DEFAULT_FEWEST_BLOCKS: u64 = 1_024;
/// Blocks are no larger by default, because tabs move frames of this size fastest,
const DEFAULT_LARGEST_BLOCK: u64 = 256 << 10;
const DEFAULT_SMALLEST_BLOCK: u64 = 16 << 10;
/// unless there would be more of them than this.
const DEFAULT_MOST_BLOCKS: u64 = 16_384;
/// The most blocks of one file. A bitfield of this many fits into a small message.
pub const MAX_BLOCKS: u32 = 32_768;
/// The largest file, in bytes: 32 GiB.
pub const MAX_FILE_SIZE: u64 = MAX_BLOCKS as u64 * MAX_BLOCK_SIZE as u64;
/// The unit of asking: a `request` names a span of segments of 16 KiB, or of whole blocks if those are smaller. On a slow
/// line a large block comes in several answers, each of which shows that something comes.
pub const SEGMENT_BYTES: u32 = 16 << 10;
/// The most segments of a block.
pub const MAX_BLOCK_SEGMENTS: u32 = MAX_BLOCK_SIZE / SEGMENT_BYTES;
/// The most bytes that one `request` may ask for and one `block` may carry: 1 MiB.
pub const MAX_SPAN_BYTES: u32 = 1 << 20;
/// The bytes of a message with the most data: a span of [`MAX_SPAN_BYTES`] in base64 is 4/3 of its bytes.
pub const MAX_MESSAGE_BYTES: u32 = MAX_SPAN_BYTES / 3 * 4 + (64 << 10);
/// The most bytes of a message between peers that carries no data, that is, of any but `block` and `manifest`: 8 KiB.
/// Such messages go before data everywhere, so they must be short; a bitfield of [`MAX_BLOCKS`] has 5.4 KiB.
pub const MAX_SMALL_BYTES: usize = 8 << 10;

/// Why a file cannot be cut as asked, or why a run of blocks is not part of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GeometryError {
    /// The block size is no power of two between 4 KiB and 1 MiB.
    #[error("a block of {0} bytes is no power of two from {MIN_BLOCK_SIZE} to {MAX_BLOCK_SIZE}")]
    BlockSize(u32),
    /// The file would have more than [`MAX_BLOCKS`] blocks.
    #[error("{size} bytes in blocks of {block_size} are more than {MAX_BLOCKS} blocks")]
    TooManyBlocks {
        /// Size of the file in bytes.
        size: u64,
        /// Size of a block in bytes.
        block_size: u32,
    },
    /// The run or span is empty or reaches past the file's end.
    #[error("{count} from {index} are not inside a file of {of}")]
    OutOfRange {
        /// The first block or segment.
        index: u32,
        /// How many.
        count: u32,
        /// How many the file has.
        of: u32,
    },
    /// The span holds more than [`MAX_SPAN_BYTES`].
    #[error("{bytes} bytes are more than one message may carry ({MAX_SPAN_BYTES})")]
    SpanTooLong {
        /// Size of the span in bytes.
        bytes: u64,
    },
}

/// What a person wrote is no block size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a block size is a power of two from 4KiB to 1MiB, such as 64KiB or 65536")]
pub struct BlockSizeError;

/// The size of a file's blocks in bytes: a power of two from 4 KiB to 1 MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct BlockSize(u32);

impl BlockSize {
    /// The default for a file of `size` bytes: the largest size that makes at least 1,024 blocks, at least 16 KiB, and up to
    /// 256 KiB as long as there are at most 16,384 blocks. With more and smaller ones, announcing and asking for each costs
    /// more than is gained by having it sooner.
    pub fn for_file(size: u64) -> Self {
        let fitting = 1 << (size / DEFAULT_FEWEST_BLOCKS).max(1).ilog2();
        let smallest = size.div_ceil(DEFAULT_MOST_BLOCKS).next_power_of_two();
        let wanted = DEFAULT_LARGEST_BLOCK.min(fitting).max(smallest).max(DEFAULT_SMALLEST_BLOCK);
        Self(wanted.clamp(MIN_BLOCK_SIZE.into(), MAX_BLOCK_SIZE.into()) as u32)
    }

    /// The size in bytes.
    pub const fn bytes(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for BlockSize {
    type Error = GeometryError;
    fn try_from(bytes: u32) -> Result<Self, GeometryError> {
        if bytes.is_power_of_two() && (MIN_BLOCK_SIZE..=MAX_BLOCK_SIZE).contains(&bytes) {
            Ok(Self(bytes))
        } else {
            Err(GeometryError::BlockSize(bytes))
        }
    }
}

impl FromStr for BlockSize {
    type Err = BlockSizeError;
    /// Reads bytes, KiB or MiB, as people write them.
    fn from_str(text: &str) -> Result<Self, BlockSizeError> {
        let end = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let factor = match unit.trim_start() {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            _ => return Err(BlockSizeError),
        };
        let bytes = number.parse().ok().and_then(|number: u32| number.checked_mul(factor));
        bytes.and_then(|bytes| Self::try_from(bytes).ok()).ok_or(BlockSizeError)
    }
}

impl From<BlockSize> for u32 {
    fn from(size: BlockSize) -> Self {
        size.0
    }
}

/// A file's size and block size, known to make at most [`MAX_BLOCKS`] blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    size: u64,
    block_size: BlockSize,
}

impl Geometry {
    /// Cuts `size` bytes into blocks of `block_size`.
    ///
    /// # Errors
    /// [`GeometryError::TooManyBlocks`].
    pub fn new(size: u64, block_size: BlockSize) -> Result<Self, GeometryError> {
        if size.div_ceil(block_size.0.into()) > MAX_BLOCKS.into() {
            return Err(GeometryError::TooManyBlocks { size, block_size: block_size.0 });
        }
        Ok(Self { size, block_size })
    }

    /// The file's size in bytes.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The size of every block but perhaps the last.
    pub const fn block_size(&self) -> BlockSize {
        self.block_size
    }

    /// The number of blocks; 0 for an empty file.
    pub const fn blocks(&self) -> u32 {
        // Fits: `new` allows at most MAX_BLOCKS.
        (self.size.saturating_add(self.block_size.0 as u64 - 1) >> self.block_size.0.trailing_zeros()) as u32
    }

    /// Where block `index` begins, in bytes from the start of the file.
    pub const fn offset(&self, index: u32) -> u64 {
        index as u64 * self.block_size.0 as u64
    }

    /// The size of block `index` in bytes; only the last may be shorter than the others, and one past the end is 0.
    pub const fn block_len(&self, index: u32) -> u32 {
        let left = self.size.saturating_sub(self.offset(index));
        if left < self.block_size.0 as u64 { left as u32 } else { self.block_size.0 }
    }

    /// A run of `count` blocks from `index`.
    ///
    /// # Errors
    /// [`GeometryError::OutOfRange`] if it is empty or not inside the file.
    pub fn run(&self, index: u32, count: u32) -> Result<Run, GeometryError> {
        match index.checked_add(count) {
            Some(end) if count > 0 && end <= self.blocks() => Ok(Run { index, count }),
            _ => Err(GeometryError::OutOfRange { index, count, of: self.blocks() }),
        }
    }

    /// The size of every segment but perhaps the file's last.
    pub const fn segment_size(&self) -> u32 {
        if self.block_size.0 < SEGMENT_BYTES { self.block_size.0 } else { SEGMENT_BYTES }
    }

    /// The number of segments of every block but perhaps the last, at most [`MAX_BLOCK_SEGMENTS`].
    pub const fn segments_per_block(&self) -> u32 {
        1 << self.segments_shift()
    }

    /// The number of segments; 0 for an empty file.
    pub const fn segments(&self) -> u32 {
        (self.size.saturating_add(self.segment_size() as u64 - 1) >> self.segment_size().trailing_zeros()) as u32
    }

    /// The segments of a block.
    pub fn block_segments(&self, index: u32) -> Range<u32> {
        let (per_block, all) = (self.segments_per_block(), self.segments());
        (index * per_block).min(all)..((index + 1) * per_block).min(all)
    }

    /// A span of `count` segments from `index`, as one message may name it.
    ///
    /// # Errors
    /// [`GeometryError::OutOfRange`] if it is empty or not inside the file, [`GeometryError::SpanTooLong`] above
    /// [`MAX_SPAN_BYTES`].
    pub fn span(&self, index: u32, count: u32) -> Result<Span, GeometryError> {
        let of = self.segments();
        let outside = GeometryError::OutOfRange { index, count, of };
        let end = index.checked_add(count).filter(|end| count > 0 && *end <= of).ok_or(outside)?;
        let span = Span { index, end };
        let bytes = self.span_len(span);
        if bytes > MAX_SPAN_BYTES.into() { Err(GeometryError::SpanTooLong { bytes }) } else { Ok(span) }
    }

    /// Where a span begins, in bytes from the start of the file.
    pub const fn span_offset(&self, span: Span) -> u64 {
        span.index as u64 * self.segment_size() as u64
    }

    /// The size of a span in bytes.
    pub const fn span_len(&self, span: Span) -> u64 {
        let end = span.end as u64 * self.segment_size() as u64;
        (if end < self.size { end } else { self.size }) - self.span_offset(span)
    }

    /// The blocks of which a span has something.
    pub const fn span_blocks(&self, span: Span) -> Range<u32> {
        let shift = self.segments_shift();
        span.index >> shift..((span.end - 1) >> shift) + 1
    }

    /// The power of two that [`Self::segments_per_block`] is. Sizes are powers of two and this is asked for each request in a
    /// queue, so nothing is divided.
    const fn segments_shift(&self) -> u32 {
        self.block_size.0.trailing_zeros() - self.segment_size().trailing_zeros()
    }

    /// The size of a run in bytes.
    pub const fn run_len(&self, run: Run) -> u64 {
        self.offset(run.index + run.count - 1) + self.block_len(run.index + run.count - 1) as u64
            - self.offset(run.index)
    }
}

/// Consecutive blocks of one file, at least one, none past its end. Made by [`Geometry::run`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Run {
    index: u32,
    count: u32,
}

impl Run {
    /// The first block.
    pub const fn index(self) -> u32 {
        self.index
    }

    /// The number of blocks, at least 1.
    pub const fn count(self) -> u32 {
        self.count
    }

    /// The blocks, in order.
    pub const fn blocks(self) -> Range<u32> {
        self.index..self.index + self.count
    }
}

/// Consecutive segments of one file, at least one, none past its end, and no more bytes than a message may carry: what one
/// `request` asks for. Made by [`Geometry::span`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    index: u32,
    end: u32,
}

impl Span {
    /// The first segment.
    pub const fn index(self) -> u32 {
        self.index
    }

    /// The number of segments, at least 1.
    pub const fn count(self) -> u32 {
        self.end - self.index
    }

    /// The segment after the last.
    pub const fn end(self) -> u32 {
        self.end
    }

    /// The segments, in order.
    pub const fn segments(self) -> Range<u32> {
        self.index..self.end
    }

    /// Whether the two have a segment in common.
    pub const fn overlaps(self, other: Self) -> bool {
        self.index < other.end && other.index < self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_size_is_a_power_of_two_from_4_kib_to_1_mib() {
        for bytes in [4 << 10, 64 << 10, 1 << 20] {
            assert_eq!(BlockSize::try_from(bytes).unwrap().bytes(), bytes);
        }
        for bytes in [0, 1, 2 << 10, 5_000, 2 << 20, u32::MAX] {
            assert_eq!(BlockSize::try_from(bytes), Err(GeometryError::BlockSize(bytes)));
        }
    }

    #[test]
    fn a_block_size_is_read_as_people_write_it() {
        for (text, bytes) in [("4096", 4 << 10), ("16384B", 16 << 10), ("64KiB", 64 << 10), ("1 MiB", 1 << 20)] {
            assert_eq!(text.parse::<BlockSize>().unwrap().bytes(), bytes);
        }
        for text in ["", "KiB", "2KiB", "5KiB", "2MiB", "64kB", "64 parsecs", "-4096", "+4096", "4096.0", "4194304KiB"]
        {
            assert_eq!(text.parse::<BlockSize>(), Err(BlockSizeError), "{text}");
        }
    }

    #[test]
    fn only_the_last_segment_may_be_shorter() {
        let segments = |size, block: u32| Geometry::new(size, BlockSize::try_from(block).unwrap()).unwrap().segments();
        for segment in [4 << 10, 16 << 10] {
            for (size, expected) in [(0, 0), (1, 1), (u64::from(segment), 1), (u64::from(segment) + 1, 2)] {
                assert_eq!(segments(size, segment), expected, "{size} in {segment}");
            }
        }
        assert_eq!([65_536, 65_537].map(|size| segments(size, 1 << 20)), [4, 5]);
    }

    #[test]
    fn the_default_block_size_makes_neither_few_blocks_nor_many() {
        for size in [16 << 20, 20_000_000, 50_000_000, 64 << 20, (256 << 20) - 1] {
            let blocks = Geometry::new(size, BlockSize::for_file(size)).unwrap().blocks();
            assert!((1_024..=2_048).contains(&blocks), "{size}: {blocks}");
        }
        let bytes = |size| BlockSize::for_file(size).bytes();
        assert_eq!([64 << 20, 1 << 30, 4 << 30, 8 << 30].map(bytes), [64 << 10, 256 << 10, 256 << 10, 512 << 10]);
        assert_eq!([0, 1, 4 << 20].map(bytes), [16 << 10; 3]);
        assert_eq!(BlockSize::for_file(MAX_FILE_SIZE).bytes(), 1 << 20);
        assert!(Geometry::new(MAX_FILE_SIZE, BlockSize::for_file(MAX_FILE_SIZE)).is_ok());
        assert!(Geometry::new(MAX_FILE_SIZE + 1, BlockSize::for_file(u64::MAX)).is_err());
        // The first sizes that get larger blocks.
        for (size, block) in
            [((32 << 20) - 1, 16 << 10), (32 << 20, 32 << 10), (4 << 30, 256 << 10), ((4 << 30) + 1, 512 << 10)]
        {
            assert_eq!(bytes(size), block, "{size}");
        }
    }

    #[test]
    fn only_the_last_block_is_shorter() {
        let geometry = Geometry::new(10_000, BlockSize(4_096)).unwrap();
        assert_eq!(geometry.blocks(), 3);
        assert_eq!([0, 1, 2, 3].map(|index| geometry.block_len(index)), [4_096, 4_096, 1_808, 0]);
        assert_eq!(geometry.run_len(geometry.run(1, 2).unwrap()), 5_904);
        assert_eq!(geometry.run_len(geometry.run(0, 2).unwrap()), 8_192);
        assert_eq!((geometry.size(), geometry.block_size().bytes(), geometry.offset(2)), (10_000, 4_096, 8_192));
        let even = Geometry::new(8_192, geometry.block_size()).unwrap();
        assert_eq!((even.blocks(), even.block_len(1), even.block_len(2)), (2, 4_096, 0));
        let run = geometry.run(1, 2).unwrap();
        assert_eq!((run.index(), run.count(), run.blocks()), (1, 2, 1..3));
    }

    #[test]
    fn a_run_stays_inside_the_file() {
        let geometry = Geometry::new(10 << 20, BlockSize::try_from(1 << 20).unwrap()).unwrap();
        assert!(geometry.run(0, 10).is_ok() && geometry.run(9, 1).is_ok());
        for (index, count) in [(0, 0), (0, 11), (9, 2), (10, 1), (u32::MAX, 1), (1, u32::MAX)] {
            assert!(matches!(geometry.run(index, count), Err(GeometryError::OutOfRange { of: 10, .. })));
        }
    }

    #[test]
    fn a_span_stays_inside_the_file_and_the_message() {
        let geometry = Geometry::new((2 << 20) + 1, BlockSize::try_from(1 << 20).unwrap()).unwrap();
        assert_eq!((geometry.segments(), geometry.segments_per_block()), (129, MAX_BLOCK_SEGMENTS));
        for (index, count) in [(0, 0), (129, 1), (128, 2), (u32::MAX, 1), (1, u32::MAX)] {
            assert!(matches!(geometry.span(index, count), Err(GeometryError::OutOfRange { of: 129, .. })));
        }
        assert_eq!(geometry.span(0, 65), Err(GeometryError::SpanTooLong { bytes: (1 << 20) + (16 << 10) }));
        assert!(geometry.span(65, 64).is_ok(), "a MiB less what the last segment lacks");
    }

    #[test]
    fn a_span_is_bytes_of_blocks() {
        let geometry = Geometry::new(100_000, BlockSize::try_from(32 << 10).unwrap()).unwrap();
        let span = |index, count| geometry.span(index, count).unwrap();
        assert_eq!((geometry.segment_size(), geometry.segments(), geometry.blocks()), (16 << 10, 7, 4));
        assert_eq!((geometry.span_offset(span(3, 2)), geometry.span_len(span(3, 2))), (3 << 14, 2 << 14));
        assert_eq!(geometry.span_len(span(5, 2)), 100_000 - (5 << 14));
        assert_eq!(
            [span(0, 1), span(1, 1), span(1, 2), span(6, 1)].map(|span| geometry.span_blocks(span)),
            [0..1, 0..1, 0..2, 3..4]
        );
        assert_eq!([0, 3, 4].map(|block| geometry.block_segments(block)), [0..2, 6..7, 7..7]);
        assert_eq!((span(3, 2).index(), span(3, 2).count(), span(3, 2).end(), span(3, 2).segments()), (3, 2, 5, 3..5));
        assert!(
            span(1, 2).overlaps(span(2, 1)) && !span(1, 2).overlaps(span(3, 1)) && !span(3, 1).overlaps(span(1, 2))
        );
        // Blocks that are smaller than a segment are asked for as they are.
        let small = Geometry::new(100_000, BlockSize::try_from(4 << 10).unwrap()).unwrap();
        assert_eq!((small.segment_size(), small.segments_per_block(), small.segments()), (4 << 10, 1, small.blocks()));
    }
}
