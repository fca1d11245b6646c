//! Which blocks of a file somebody has.

use bytes::Bytes;

/// The bytes are no bitfield of the file's blocks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BitfieldError {
    /// The length does not fit the number of blocks.
    #[error("a bitfield of {blocks} blocks has {expected} bytes, not {actual}")]
    Length {
        /// Number of blocks in the file.
        blocks: u32,
        /// The right length in bytes.
        expected: usize,
        /// The length received.
        actual: usize,
    },
    /// A bit past the last block is set.
    #[error("a bit past the last block is set")]
    SpareBits,
}

/// One bit per block, the first block in the highest bit of the first byte (as in BEP 3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bitfield {
    /// The first block in the highest bit of the first word.
    words: Vec<u64>,
    blocks: u32,
    ones: u32,
}

impl Bitfield {
    /// A bitfield with no block set.
    pub fn empty(blocks: u32) -> Self {
        Self { words: vec![0; blocks.div_ceil(u64::BITS) as usize], blocks, ones: 0 }
    }

    /// A bitfield with every block set.
    pub fn full(blocks: u32) -> Self {
        let mut words = vec![u64::MAX; blocks.div_ceil(u64::BITS) as usize];
        if let Some(last) = words.last_mut() {
            *last &= used_bits(blocks);
        }
        Self { words, blocks, ones: blocks }
    }

    /// Reads what [`Bitfield::to_bytes`] wrote, for a file of `blocks` blocks.
    ///
    /// # Errors
    /// If the length is wrong or a spare bit is set.
    pub fn from_bytes(bytes: &[u8], blocks: u32) -> Result<Self, BitfieldError> {
        let expected = blocks.div_ceil(u8::BITS) as usize;
        if bytes.len() != expected {
            return Err(BitfieldError::Length { blocks, expected, actual: bytes.len() });
        }
        let word = |chunk: &[u8]| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_be_bytes(word)
        };
        let words: Vec<_> = bytes.chunks(8).map(word).collect();
        if words.last().is_some_and(|last| last & !used_bits(blocks) != 0) {
            return Err(BitfieldError::SpareBits);
        }
        let ones = words.iter().map(|word| word.count_ones()).sum();
        Ok(Self { words, blocks, ones })
    }

    /// The bits as they travel.
    pub fn to_bytes(&self) -> Bytes {
        let mut bytes: Vec<_> = self.words.iter().flat_map(|word| word.to_be_bytes()).collect();
        bytes.truncate(self.blocks.div_ceil(u8::BITS) as usize);
        bytes.into()
    }

    /// The number of blocks in the file.
    pub const fn len(&self) -> u32 {
        self.blocks
    }

    /// Whether the file has no blocks at all.
    pub const fn is_empty(&self) -> bool {
        self.blocks == 0
    }

    /// The number of blocks set.
    pub const fn count(&self) -> u32 {
        self.ones
    }

    /// Whether every block is set; so it is for an empty file.
    pub const fn is_full(&self) -> bool {
        self.ones == self.blocks
    }

    /// Whether block `index` is set; no block past the end is.
    pub fn has(&self, index: u32) -> bool {
        self.words.get(place(index)).is_some_and(|word| word & mask(index) != 0)
    }

    /// Sets block `index` and tells whether that changed anything. An index past the end changes nothing.
    pub fn set(&mut self, index: u32) -> bool {
        if index >= self.blocks || self.has(index) {
            return false;
        }
        self.words[place(index)] |= mask(index);
        self.ones += 1;
        true
    }

    /// Clears block `index` and tells whether that changed anything.
    pub fn clear(&mut self, index: u32) -> bool {
        if !self.has(index) {
            return false;
        }
        self.words[place(index)] &= !mask(index);
        self.ones -= 1;
        true
    }

    /// The blocks set, in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        (0..).zip(&self.words).flat_map(|(place, &word)| ones(place, word))
    }

    /// Whether a block is set here that is not set there.
    pub fn has_other_than(&self, other: &Self) -> bool {
        self.ones > other.ones || self.words.iter().zip(&other.words).any(|(own, other)| own & !other != 0)
    }

    /// The blocks set in both, in order, beginning near `start` and going round.
    pub fn common(&self, other: &Self, start: u32) -> impl Iterator<Item = u32> {
        let words = self.words.len().min(other.words.len());
        let start = place(start).min(words);
        let both = move |place: usize| ones(place as u32, self.words[place] & other.words[place]);
        (start..words).chain(0..start).flat_map(both)
    }
}

const fn place(index: u32) -> usize {
    (index / u64::BITS) as usize
}

const fn mask(index: u32) -> u64 {
    1 << (u64::BITS - 1 - index % u64::BITS)
}

/// The blocks that a word stands for and that are set, in order.
fn ones(place: u32, mut word: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = (word != 0).then(|| word.leading_zeros())?;
        word &= !mask(bit);
        Some(place * u64::BITS + bit)
    })
}

/// The bits of the last word that stand for blocks.
fn used_bits(blocks: u32) -> u64 {
    match blocks % u64::BITS {
        0 => u64::MAX,
        used => !(u64::MAX >> used),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_block_is_the_highest_bit() {
        let mut bitfield = Bitfield::empty(10);
        assert!(bitfield.set(0) && bitfield.set(9) && !bitfield.set(9) && !bitfield.set(10));
        assert_eq!(&bitfield.to_bytes()[..], [0b1000_0000, 0b0100_0000]);
        assert_eq!(bitfield.iter().collect::<Vec<_>>(), [0, 9]);
        assert_eq!(Bitfield::from_bytes(&[0b1000_0000, 0b0100_0000], 10), Ok(bitfield.clone()));
        assert!(bitfield.clear(9) && !bitfield.clear(9) && !bitfield.has(9));
        assert_eq!((bitfield.count(), bitfield.len()), (1, 10));
        assert!(!bitfield.has(10) && !bitfield.has(64) && !bitfield.clear(u32::MAX));
    }

    #[test]
    fn an_empty_file_has_no_blocks_and_so_all_of_them() {
        let [none, two] = [0, 2].map(Bitfield::empty);
        assert!(none.is_empty() && none.is_full() && none.to_bytes().is_empty());
        assert!(!two.is_empty() && !two.is_full() && two.count() == 0);
        assert_eq!(Bitfield::full(2).count(), 2);
        assert!(Bitfield::full(2).is_full() && !Bitfield::full(2).is_empty());
    }

    #[test]
    fn every_block_is_found_where_it_was_set() {
        for blocks in [1, 63, 64, 65, 127, 128, 129, 200] {
            for index in 0..blocks {
                let mut bitfield = Bitfield::empty(blocks);
                assert!(bitfield.set(index));
                assert_eq!(bitfield.iter().collect::<Vec<_>>(), [index]);
                assert_eq!((0..300).filter(|other| bitfield.has(*other)).collect::<Vec<_>>(), [index]);
                assert_eq!(Bitfield::from_bytes(&bitfield.to_bytes(), blocks).as_ref(), Ok(&bitfield));
                assert!(bitfield.clear(index));
                assert_eq!(bitfield, Bitfield::empty(blocks));
            }
        }
    }

    #[test]
    fn what_one_has_and_another_has_not_is_seen() {
        let mut some = Bitfield::empty(130);
        assert!(!some.has_other_than(&Bitfield::empty(130)));
        some.set(129);
        assert!(some.has_other_than(&Bitfield::empty(130)) && !some.has_other_than(&Bitfield::full(130)));
        assert!(Bitfield::full(130).has_other_than(&some) && !some.has_other_than(&some));
    }

    #[test]
    fn full_sets_no_spare_bit() {
        for blocks in [0, 1, 7, 8, 9, 4_096] {
            let full = Bitfield::full(blocks);
            assert!(full.is_full());
            assert_eq!(full.iter().count(), blocks as usize);
            assert_eq!(Bitfield::from_bytes(&full.to_bytes(), blocks), Ok(full));
        }
    }

    #[test]
    fn what_is_set_in_one_and_not_in_the_other_is_noticed_whichever_has_more() {
        let of = |indices: &[u32]| {
            let mut blocks = Bitfield::empty(130);
            indices.iter().for_each(|index| _ = blocks.set(*index));
            blocks
        };
        for (own, other, expected) in [
            (&[][..], &[][..], false),
            (&[3, 129], &[3, 129], false),
            (&[129], &[3, 129], false),
            (&[3, 129], &[129], true),
            (&[129], &[3], true),
            (&[129], &[3, 4], true),
            (&[3, 4], &[129], true),
        ] {
            assert_eq!(of(own).has_other_than(&of(other)), expected, "{own:?} {other:?}");
        }
    }

    #[test]
    fn what_is_set_in_both_is_found_from_any_start() {
        let some = |blocks: &[u32]| {
            let mut bitfield = Bitfield::empty(300);
            blocks.iter().for_each(|&index| assert!(bitfield.set(index)));
            bitfield
        };
        let (one, other) = (some(&[0, 63, 64, 130, 299]), some(&[0, 1, 64, 131, 299]));
        let common = |start| one.common(&other, start).collect::<Vec<_>>();
        assert_eq!(common(0), [0, 64, 299]);
        assert_eq!(common(200), [299, 0, 64]);
        assert_eq!(common(u32::MAX), [0, 64, 299]);
    }

    #[test]
    fn a_wrong_length_or_a_spare_bit_is_refused() {
        let length = |actual| BitfieldError::Length { blocks: 10, expected: 2, actual };
        assert_eq!(Bitfield::from_bytes(&[0; 1], 10), Err(length(1)));
        assert_eq!(Bitfield::from_bytes(&[0; 3], 10), Err(length(3)));
        assert_eq!(Bitfield::from_bytes(&[0, 0b0010_0000], 10), Err(BitfieldError::SpareBits));
    }
}
