//! Whole numbers of one to eight bytes (RFC 9000 section 16).

/// The largest.
pub(super) const MAX: u64 = (1 << 62) - 1;
/// The most bytes that one has.
pub(super) const BYTES_MAX: usize = 8;

/// Reads one from the start of `bytes`; says how many it has. `None` = there is only a part of it.
pub(super) fn read(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let length = 1 << (first >> 6);
    let rest = bytes.get(1..length)?;
    let number = rest.iter().fold(u64::from(first & 0x3f), |number, byte| number << 8 | u64::from(*byte));
    Some((number, length))
}

/// Appends one.
pub(super) fn write(out: &mut Vec<u8>, number: u64) {
    debug_assert!(number <= MAX);
    match number {
        0..=0x3f => out.push(number as u8),
        0x40..=0x3fff => out.extend_from_slice(&(number as u16 | 0x4000).to_be_bytes()),
        0x4000..=0x3fff_ffff => out.extend_from_slice(&(number as u32 | 0x8000_0000).to_be_bytes()),
        _ => out.extend_from_slice(&(number | 0xc000_0000_0000_0000).to_be_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_are_written() {
        for number in [0, 1, 63, 64, 16_383, 16_384, (1 << 30) - 1, 1 << 30, MAX] {
            let mut bytes = Vec::new();
            write(&mut bytes, number);
            assert_eq!(read(&bytes), Some((number, bytes.len())));
            assert_eq!(read(&bytes[..bytes.len() - 1]), None);
        }
    }

    #[test]
    fn the_examples_of_the_standard() {
        // RFC 9000 appendix A.1; the last is longer than it need be.
        let long = [0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c];
        assert_eq!(read(&long), Some((151_288_809_941_952_652, 8)));
        assert_eq!(read(&[0x7b, 0xbd, 0]), Some((15_293, 2)));
        assert_eq!(read(&[0x40, 0x25]), Some((37, 2)));
    }
}
