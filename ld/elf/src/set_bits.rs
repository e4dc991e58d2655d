//! The set bits of a word: what bit maps of relocations (`DT_RELR`) and of objects are read by.

/// Numbers of the set bits of a word, lowest first.
#[derive(Clone, Copy, Debug)]
pub struct SetBits(pub u64);

impl Iterator for SetBits {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        let bit = self.0.trailing_zeros();
        if bit == u64::BITS {
            return None;
        }
        self.0 &= self.0 - 1;
        Some(bit)
    }
}
