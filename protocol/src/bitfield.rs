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
    bits: Vec<u8>,
    blocks: u32,
    ones: u32,
}

impl Bitfield {
    /// A bitfield with no block set.
    pub fn empty(blocks: u32) -> Self {
        Self { bits: vec![0; blocks.div_ceil(8) as usize], blocks, ones: 0 }
    }

    /// A bitfield with every block set.
    pub fn full(blocks: u32) -> Self {
        let mut bits = vec![0xff; blocks.div_ceil(8) as usize];
        if let Some(last) = bits.last_mut() {
            *last &= used_bits(blocks);
        }
        Self { bits, blocks, ones: blocks }
    }

    /// Reads what [`Bitfield::to_bytes`] wrote, for a file of `blocks` blocks.
    ///
    /// # Errors
    /// If the length is wrong or a spare bit is set.
    pub fn from_bytes(bytes: &[u8], blocks: u32) -> Result<Self, BitfieldError> {
        let expected = blocks.div_ceil(8) as usize;
        if bytes.len() != expected {
            return Err(BitfieldError::Length { blocks, expected, actual: bytes.len() });
        }
        if bytes.last().is_some_and(|last| last & !used_bits(blocks) != 0) {
            return Err(BitfieldError::SpareBits);
        }
        let ones = bytes.iter().map(|byte| byte.count_ones()).sum();
        Ok(Self { bits: bytes.to_vec(), blocks, ones })
    }

    /// The bits as they travel.
    pub fn to_bytes(&self) -> Bytes {
        Bytes::copy_from_slice(&self.bits)
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
        self.bits.get(index as usize / 8).is_some_and(|byte| byte & mask(index) != 0)
    }

    /// Sets block `index` and tells whether that changed anything. An index past the end changes nothing.
    pub fn set(&mut self, index: u32) -> bool {
        if index >= self.blocks || self.has(index) {
            return false;
        }
        self.bits[index as usize / 8] |= mask(index);
        self.ones += 1;
        true
    }

    /// Clears block `index` and tells whether that changed anything.
    pub fn clear(&mut self, index: u32) -> bool {
        if !self.has(index) {
            return false;
        }
        self.bits[index as usize / 8] &= !mask(index);
        self.ones -= 1;
        true
    }

    /// The blocks set, in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        (0..self.blocks).filter(|&index| self.has(index))
    }
}

fn mask(index: u32) -> u8 {
    0x80 >> (index % 8)
}

/// The bits of the last byte that stand for blocks.
fn used_bits(blocks: u32) -> u8 {
    match blocks % 8 {
        0 => 0xff,
        used => !(0xff >> used),
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
        assert_eq!(bitfield.count(), 1);
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
    fn a_wrong_length_or_a_spare_bit_is_refused() {
        let length = |actual| BitfieldError::Length { blocks: 10, expected: 2, actual };
        assert_eq!(Bitfield::from_bytes(&[0; 1], 10), Err(length(1)));
        assert_eq!(Bitfield::from_bytes(&[0; 3], 10), Err(length(3)));
        assert_eq!(Bitfield::from_bytes(&[0, 0b0010_0000], 10), Err(BitfieldError::SpareBits));
    }
}
