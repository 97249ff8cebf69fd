//! The content of long bodies: the alphabet, over and over, so that a test can tell what is missing.

const LETTERS: usize = 26;

/// Whole alphabets, so that blocks follow each other without a seam.
pub(crate) static BLOCK: [u8; LETTERS * 1024] = {
    let mut block = [0; LETTERS * 1024];
    let mut at = 0;
    while at < block.len() {
        block[at] = b'a' + (at % LETTERS) as u8;
        at += 1;
    }
    block
};

/// The sum of the first `count` bytes.
pub(crate) fn sum(count: u64) -> u64 {
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
    let letters = LETTERS as u64;
    count / letters * sum(&BLOCK[..LETTERS]) + sum(&BLOCK[..(count % letters) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_that_of_the_bytes() {
        for count in [0, 1, 26, 27, 1000] {
            assert_eq!(sum(count as u64), BLOCK[..count].iter().map(|byte| u64::from(*byte)).sum::<u64>());
        }
    }
}
