use super::*;

const HEAD_OF_200: &[u8] = &[0x88];

fn client() -> (Http2, Vec<u8>) {
    let mut out = Vec::new();
    let http = Http2::begin("/", false, &mut out);
    out.clear();
    (http, out)
}

fn framed(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame(kind, flags, stream, payload, &mut bytes);
    bytes
}

fn answer(stream: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = framed(HEADERS, END_HEADERS, stream, HEAD_OF_200);
    bytes.extend(framed(DATA, END_STREAM, stream, body));
    bytes
}

#[test]
fn answers_come_in_any_order_and_in_pieces() {
    let (mut http, mut out) = client();
    http.ask(10, &mut out);
    http.ask(20, &mut out);
    let mut inbox = Inbox { bodies: Some(Vec::new()), ..Inbox::default() };
    for byte in [answer(3, b"second"), answer(1, b"first")].concat() {
        http.feed(&[byte], &mut inbox, &mut out).unwrap();
    }
    assert_eq!(inbox.answered, [20, 10]);
    assert_eq!(inbox.body_bytes, 11);
    assert_eq!(inbox.bodies.as_deref(), Some(b"secondfirst".as_slice()));
}

#[test]
fn later_requests_name_their_fields_by_number() {
    let (mut http, mut first) = client();
    http.ask(0, &mut first);
    let mut second = Vec::new();
    http.ask(0, &mut second);
    assert!(first.windows(HOST.len()).any(|window| window == HOST.as_bytes()));
    assert_eq!(second[FRAME_HEAD_BYTES..], [0x82, 0x86, 0x84, 0xc0, 0xbf, 0xbe]);
    assert_eq!(second[5..FRAME_HEAD_BYTES], 3_u32.to_be_bytes());
}

#[test]
fn settings_and_pings_are_acknowledged() {
    let (mut http, mut out) = client();
    let mut inbox = Inbox::default();
    let came = [framed(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]), framed(PING, 0, 0, b"12345678")].concat();
    http.feed(&came, &mut inbox, &mut out).unwrap();
    assert_eq!(out, [framed(SETTINGS, ACK, 0, b""), framed(PING, ACK, 0, b"12345678")].concat());
}

#[test]
fn a_long_body_fills_the_window_up_again() {
    let (mut http, mut out) = client();
    http.ask(0, &mut out);
    out.clear();
    let mut inbox = Inbox::default();
    http.feed(&framed(HEADERS, END_HEADERS, 1, HEAD_OF_200), &mut inbox, &mut out).unwrap();
    for _ in 0..REFILL_AT / 16_384 {
        assert!(out.is_empty());
        http.feed(&framed(DATA, 0, 1, &[0; 16_384]), &mut inbox, &mut out).unwrap();
    }
    assert_eq!(out, framed(WINDOW_UPDATE, 0, 0, &REFILL_AT.to_be_bytes()));
}

#[test]
fn anything_but_a_200_is_an_error() {
    const GOAWAY: u8 = 7;
    const RESET: u8 = 3;
    for wrong in [
        // `:status` 404, a status that is spelled out, and a 200 on a stream that nobody opened.
        framed(HEADERS, END_HEADERS | END_STREAM, 1, &[0x8d]),
        framed(HEADERS, END_HEADERS | END_STREAM, 1, &[0x48, 0x03, b'5', b'0', b'3']),
        framed(HEADERS, END_HEADERS | END_STREAM, 5, HEAD_OF_200),
        framed(RESET, 0, 1, &[0; 4]),
        framed(GOAWAY, 0, 0, &[0; 8]),
        framed(SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0]),
        framed(DATA, PADDED, 1, &[0; 4]),
    ] {
        let (mut http, mut out) = client();
        http.ask(0, &mut out);
        assert!(http.feed(&wrong, &mut Inbox::default(), &mut out).is_err(), "{wrong:?}");
    }
}

#[test]
fn a_change_of_the_table_may_come_before_the_status() {
    // A size of no more than 30 fits into the first byte; a larger one goes on after it.
    for size in [&[0x20][..], &[0x3f, 0xe1, 0x1f]] {
        let (mut http, mut out) = client();
        http.ask(7, &mut out);
        let mut inbox = Inbox::default();
        let head = framed(HEADERS, END_HEADERS | END_STREAM, 1, &[size, HEAD_OF_200].concat());
        http.feed(&head, &mut inbox, &mut out).unwrap();
        assert_eq!(inbox.answered, [7]);
    }
}
