//! Where commas, line ends and quotes stand in 64 bytes of text, as bits: the first step of reading, and the only one that
//! looks at every byte.
//!
//! On x86-64 sixteen bytes are compared at once (SSE2, which every such processor has); elsewhere a scalar twin does the same,
//! and a property test holds the two together.

/// One bit for each byte of a block; the lowest is the first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Masks {
    pub(crate) commas: u64,
    pub(crate) line_ends: u64,
    pub(crate) quotes: u64,
}

/// Bytes that are looked at together.
pub(crate) const BLOCK: usize = 64;

#[cfg(target_arch = "x86_64")]
#[inline]
#[expect(
    unsafe_code,
    reason = "the compiler asks for it even where the target implies the feature"
)]
pub(crate) fn masks(block: &[u8; BLOCK]) -> Masks {
    // SAFETY: SSE2 belongs to x86-64: there is no such processor without it.
    unsafe { sse2(block) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse2")]
fn sse2(block: &[u8; BLOCK]) -> Masks {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_movemask_epi8, _mm_set_epi64x, _mm_set1_epi8,
    };

    let (quarters, _) = block.as_chunks::<16>();
    let mut found = Masks { commas: 0, line_ends: 0, quotes: 0 };
    for (quarter, bytes) in quarters.iter().enumerate() {
        let both = u128::from_le_bytes(*bytes);
        // The compiler makes one load of this.
        let lanes = _mm_set_epi64x((both >> 64) as i64, both as i64);
        let bits = |wanted: u8| {
            let equal: __m128i = _mm_cmpeq_epi8(lanes, _mm_set1_epi8(wanted as i8));
            u64::from(_mm_movemask_epi8(equal) as u16) << (quarter * 16)
        };
        found.commas |= bits(b',');
        found.line_ends |= bits(b'\n');
        found.quotes |= bits(b'"');
    }
    found
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn masks(block: &[u8; BLOCK]) -> Masks {
    scalar(block)
}

#[cfg(any(test, not(target_arch = "x86_64")))]
fn scalar(block: &[u8; BLOCK]) -> Masks {
    let bits = |wanted: u8| {
        block
            .iter()
            .enumerate()
            .fold(0, |bits, (at, byte)| bits | (u64::from(*byte == wanted) << at))
    };
    Masks { commas: bits(b','), line_ends: bits(b'\n'), quotes: bits(b'"') }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};

    use super::{masks, scalar};

    fn bytes() -> impl Strategy<Value = u8> {
        prop_oneof![Just(b','), Just(b'\n'), Just(b'"'), any::<u8>()]
    }

    proptest! {
        /// The fast way and the plain way see the same.
        #[test]
        fn both_twins_agree(block in proptest::array::uniform32((bytes(), bytes()))) {
            let mut flat = [0; 64];
            for (pair, (a, b)) in flat.chunks_exact_mut(2).zip(block) {
                pair.copy_from_slice(&[a, b]);
            }
            assert_eq!(masks(&flat), scalar(&flat));
        }
    }
}
