//! The Huffman code of HPACK (RFC 7541 appendix B), which QPACK uses too.
//!
//! It is canonical: codes of one length follow each other in the order of what they stand for, and the shorter come first.
//! So the lengths are all that has to be known of it.

use super::Malformed;

/// The longest code, in bits.
const BITS_MAX: usize = 30;
/// The length of the code of each byte, in bits. What ends a text has the longest code of all, and is in none.
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28,
    28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6,
    6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7,
    8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7,
    15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24,
    23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23,
    23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26,
    26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20,
    21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27,
    27, 27, 26,
];

/// What there is of each length.
struct Code {
    /// The first code of this length.
    first: [u32; BITS_MAX + 1],
    /// How many bytes have one of this length.
    count: [u32; BITS_MAX + 1],
    /// Where those begin among all bytes in the order of their codes.
    start: [u32; BITS_MAX + 1],
    /// All bytes in the order of their codes.
    bytes: [u8; 256],
}

static CODE: Code = {
    let mut code = Code {
        first: [0; BITS_MAX + 1],
        count: [0; BITS_MAX + 1],
        start: [0; BITS_MAX + 1],
        bytes: [0; 256],
    };
    let (mut length, mut next, mut place) = (1, 0, 0);
    while length <= BITS_MAX {
        next <<= 1;
        code.first[length] = next;
        code.start[length] = place as u32;
        let mut byte = 0;
        while byte < 256 {
            if LENGTHS[byte] as usize == length {
                code.bytes[place] = byte as u8;
                place += 1;
                next += 1;
            }
            byte += 1;
        }
        code.count[length] = place as u32 - code.start[length];
        length += 1;
    }
    code
};

/// Appends the text that these bytes stand for.
pub(super) fn decode(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let (mut code, mut length) = (0u32, 0);
    for byte in bytes {
        for shift in (0..8).rev() {
            code = code << 1 | u32::from(byte >> shift & 1);
            length += 1;
            if length > BITS_MAX {
                return Err(Malformed);
            }
            let beyond = code.wrapping_sub(CODE.first[length]);
            if code >= CODE.first[length] && beyond < CODE.count[length] {
                out.push(CODE.bytes[(CODE.start[length] + beyond) as usize]);
                (code, length) = (0, 0);
            }
        }
    }
    // What fills the last byte is the beginning of the code for the end, all ones, and shorter than a byte.
    let is_padding = length < 8 && code == (1 << length) - 1;
    if is_padding { Ok(()) } else { Err(Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(bytes: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        decode(bytes, &mut out).ok().map(|()| out)
    }

    #[test]
    fn the_examples_of_the_standard() {
        // RFC 7541 sections C.4 and C.6.
        let host = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(decoded(&host).expect("a text"), b"www.example.com");
        assert_eq!(decoded(&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf]).expect("a text"), b"no-cache");
        assert_eq!(decoded(&[0x64, 0x02]).expect("a text"), b"302");
        assert_eq!(decoded(&[]).expect("a text"), b"");
    }

    #[test]
    fn every_byte_has_a_code_of_its_length() {
        for byte in 0..=255u8 {
            let length = LENGTHS[usize::from(byte)] as usize;
            let place = CODE.bytes.iter().position(|&one| one == byte).expect("it is there") as u32;
            let code = CODE.first[length] + place - CODE.start[length];
            let bits = u64::from(code) << (64 - length) | u64::MAX >> length;
            let used = &bits.to_be_bytes()[..length.div_ceil(8)];
            assert_eq!(decoded(used).expect("a text"), [byte], "{byte}");
        }
    }

    #[test]
    fn what_is_no_text_is_refused() {
        // A whole byte of padding, padding that is not all ones, and the code for the end.
        for bytes in [&[0xff][..], &[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf, 0xff], &[0x18], &[0xff; 4]] {
            assert!(decoded(bytes).is_none(), "{bytes:x?}");
        }
    }
}
