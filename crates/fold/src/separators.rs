//! The positions of commas, line ends and quotes in 64 bytes of text, as bits: the first step of
//! reading, and the only step that reads every byte.
//!
//! On x86-64 sixteen bytes are compared at once (SSE2, which every such processor has). On other
//! processors a scalar twin does the same; a property test compares the two.

/// One bit for each byte of a block; the lowest is the first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Masks {
    pub(crate) commas: u64,
    pub(crate) line_ends: u64,
    pub(crate) quotes: u64,
}

/// Bytes that are compared together.
pub(crate) const BLOCK: usize = 64;

#[cfg(target_arch = "x86_64")]
#[inline(always)]
#[expect(
    unsafe_code,
    reason = "the compiler asks for it even where the target implies the feature"
)]
pub(crate) fn masks(block: &[u8; BLOCK]) -> Masks {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8,
    };

    let (quarters, _) = block.as_chunks::<16>();
    // SAFETY: all of these need only SSE2, which every x86-64 processor has. They would be safe in
    // a function that enables the feature, but such a function is not always inlined and would be
    // called for each block.
    unsafe {
        let lanes = [0, 1, 2, 3].map(|quarter: usize| {
            let both = u128::from_le_bytes(quarters[quarter]);
            // The compiler makes one load of this.
            _mm_set_epi64x((both >> 64) as i64, both as i64)
        });
        let equal =
            |wanted: u8| lanes.map(|lane| _mm_cmpeq_epi8(lane, _mm_set1_epi8(wanted as i8)));
        let bits = |equal: [__m128i; 4]| {
            let [a, b, c, d] = equal.map(|lane| u64::from(_mm_movemask_epi8(lane) as u16));
            a | b << 16 | c << 32 | d << 48
        };
        let (line_ends, quotes) = (equal(b'\n'), equal(b'"'));
        let both = |at: usize| _mm_or_si128(line_ends[at], quotes[at]);
        let any = _mm_or_si128(_mm_or_si128(both(0), both(1)), _mm_or_si128(both(2), both(3)));
        let commas = bits(equal(b','));
        // Most blocks have only commas, and to make the bits is the costly step.
        if _mm_movemask_epi8(any) == 0 {
            return Masks { commas, line_ends: 0, quotes: 0 };
        }
        Masks { commas, line_ends: bits(line_ends), quotes: bits(quotes) }
    }
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
        /// The fast twin and the scalar twin find the same.
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
