//! What is written is read as it was, and what is no section is refused.

use super::*;
use proptest::prelude::*;

type Pair = (Vec<u8>, Vec<u8>);

fn fields(bytes: &[u8]) -> Result<Vec<Pair>, Malformed> {
    let mut section = Section::new(bytes)?;
    let mut fields = Vec::new();
    while let Some((name, value)) = section.next()? {
        let (mut in_name, mut in_value) = (Vec::new(), Vec::new());
        name.write(&mut in_name)?;
        value.write(&mut in_value)?;
        fields.push((in_name, in_value));
    }
    Ok(fields)
}

fn section(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    begin(&mut out);
    for (name, value) in fields {
        write(&mut out, name, value);
    }
    out
}

#[test]
fn fields_are_read_as_they_are_written() {
    let long = vec![b'x'; 70_000];
    let all: [(&[u8], &[u8]); 5] =
        [(b":status", b"200"), (b"server", b"a"), (b"x-mine", b""), (b"x-a", &long), (b"date", b"\xff")];
    let read = fields(&section(&all)).expect("a section");
    let expected: Vec<_> = all.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
    assert_eq!(read, expected);
}

#[test]
fn names_are_written_in_lower_case() {
    let read = fields(&section(&[(b"Server", b"A"), (b"X-Mine", b"B")])).expect("a section");
    assert_eq!(read, [(b"server".to_vec(), b"A".to_vec()), (b"x-mine".to_vec(), b"B".to_vec())]);
}

#[test]
fn the_examples_of_the_standard() {
    // RFC 9204 appendix B.1.
    let example = [&[0x00, 0x00, 0x51, 0x0b][..], b"/index.html"].concat();
    assert_eq!(fields(&example).expect("a section"), [(b":path".to_vec(), b"/index.html".to_vec())]);
    // Appendix B.2 refers to the dynamic table.
    assert_eq!(fields(&[0x03, 0x81, 0x10, 0x11]), Err(Malformed));
}

#[test]
fn a_base_that_nothing_refers_to_may_be_any() {
    for base in [&[0x00][..], &[0x05], &[0x7f, 0x00]] {
        let status = (b":status".to_vec(), b"200".to_vec());
        assert_eq!(fields(&[&[0], base, &[0xd9]].concat()).expect("a section"), [status], "{base:x?}");
    }
}

#[test]
fn what_is_no_section_is_refused() {
    for bytes in [
        &[][..],
        &[0],
        // Insertions, and a base below zero, with nothing behind that refers to them.
        &[1, 0, 0xd9],
        &[0, 0x80, 0xd9],
        // An entry beyond the table.
        &[0, 0, 0xff, 0x24],
        // The dynamic table, in each of the four ways.
        &[0, 0, 0x80],
        &[0, 0, 0x10],
        &[0, 0, 0x40, 0],
        &[0, 0, 0x00, 0],
        // Texts that are longer than what there is, or as long as no number can say.
        &[0, 0, 0x51, 5, b'a'],
        &[0, 0, 0x51],
        &[0, 0, 0x27, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
    ] {
        assert_eq!(fields(bytes), Err(Malformed), "{bytes:x?}");
    }
}

proptest! {
    #[test]
    fn whatever_comes_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = fields(&bytes);
        let _ = fields(&[&[0, 0], &bytes[..]].concat());
    }

    #[test]
    fn whatever_is_written_is_read(pairs in prop::collection::vec(("[a-z-]{1,40}", ".{0,300}"), 0..20)) {
        let pairs: Vec<Pair> =
            pairs.into_iter().map(|(name, value)| (name.into_bytes(), value.into_bytes())).collect();
        let given: Vec<(&[u8], &[u8])> = pairs.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        prop_assert_eq!(fields(&section(&given)).expect("a section"), pairs);
    }
}
