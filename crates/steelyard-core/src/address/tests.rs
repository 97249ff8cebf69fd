//! What is read, what is refused and what is said about it.

use super::*;

fn bind(text: &str) -> Result<Bind, Refusal> {
    text.parse()
}

fn endpoint(text: &str) -> Result<EndpointAddress, Refusal> {
    text.parse()
}

fn said<T: fmt::Debug>(outcome: Result<T, Refusal>) -> (String, String) {
    let refusal = outcome.expect_err("must be refused");
    (refusal.message, refusal.hint.unwrap_or_default())
}

#[test]
fn every_form_of_a_bind_is_read_and_written_back() {
    for text in [":8080", ":0", "1.2.3.4:80", "[::1]:80", "[::]:80", "0.0.0.0:0", "unix:/run/app.sock"] {
        assert_eq!(bind(text).unwrap().to_string(), text);
    }
    assert_eq!(bind(":8080").unwrap(), Bind::Any { port: 8080 });
    assert_eq!(bind("unix:/a").unwrap(), Bind::Unix("/a".into()));
}

#[test]
fn every_form_of_an_endpoint_is_read_and_written_back() {
    for text in ["10.0.0.1:8080", "[::1]:8080", "app.internal:80", "my_app-1:80", "unix:/run/app.sock"] {
        assert_eq!(endpoint(text).unwrap().to_string(), text);
    }
    let name = EndpointAddress::Name { host: "app.internal".into(), port: 80 };
    assert_eq!(endpoint("App.Internal.:80").unwrap(), name);
}

#[test]
fn an_ipv4_address_in_ipv6_clothes_is_the_ipv4_address() {
    assert_eq!(endpoint("[::ffff:10.0.0.1]:80").unwrap(), endpoint("10.0.0.1:80").unwrap());
}

#[test]
fn refused_endpoints_say_what_to_write() {
    for (text, message, hint) in [
        ("10.0.0.1", "has no port", "write \"10.0.0.1:8080\""),
        ("app", "has no port", "write \"app:8080\""),
        ("app:", "has no port", "write \"app:8080\""),
        ("[::1]", "has no port", "write \"[::1]:8080\""),
        ("http://app", "is a URL", "write \"app:80\""),
        ("https://app/x", "is a URL", "write \"app:443\""),
        ("http://app:81/x", "is a URL", "write \"app:81\""),
        ("app :80", "white space", "write \"10.0.0.1:8080\""),
        (" app:80", "white space", "write \"10.0.0.1:8080\""),
        ("", "empty", "write \"10.0.0.1:8080\""),
        ("app:80/x", "more than HOST:PORT", "write \"10.0.0.1:8080\""),
        ("app:0", "cannot have port 0", "the port that it listens on"),
        ("app:65536", "out of range", "65535"),
        ("app:http", "is no port", "up to 65535"),
        ("app:+80", "is no port", "up to 65535"),
        (":80", "has no host", "write \"127.0.0.1:80\""),
        ("0.0.0.0:80", "not where it is found", "write \"127.0.0.1:80\""),
        ("::1", "no brackets", "write \"[::1]:8080\""),
        ("fe80::1:zz:80", "stands in brackets", "write \"[fe80::1:zz]:80\""),
        ("/run/app.sock", "is a path", "write \"unix:/run/app.sock\""),
        ("unix:app.sock", "must be absolute", "unix:/run/app.sock"),
        ("unix:", "must be absolute", "unix:/run/app.sock"),
        ("[zz]:80", "no IPv6 address", ""),
        ("[::1:80", "no IPv6 address", ""),
        ("1.2.3.400:80", "no IPv4 address", ""),
        ("a..b:80", "no host name", ""),
        ("-a:80", "no host name", ""),
        ("a*b:80", "no host name", ""),
    ] {
        let (said_message, said_hint) = said(endpoint(text));
        assert!(said_message.contains(message), "{text:?}: {said_message}");
        assert!(said_hint.contains(hint), "{text:?}: {said_hint}");
    }
}

#[test]
fn refused_binds_say_what_to_write() {
    for (text, message, hint) in [
        ("8080", "has no port", "write \":8080\""),
        ("*:80", "is no address", "write \":80\""),
        ("localhost:80", "is a name", "write \"127.0.0.1:80\""),
        ("example.com:80", "is a name", "write \":80\""),
        ("http://:80", "is a URL", "write \":80\""),
        ("127.0.0.1", "has no port", "write \"127.0.0.1:8080\""),
    ] {
        let (said_message, said_hint) = said(bind(text));
        assert!(said_message.contains(message), "{text:?}: {said_message}");
        assert!(said_hint.contains(hint), "{text:?}: {said_hint}");
    }
}

#[test]
fn a_unix_path_is_as_long_as_the_system_takes() {
    let path = |length: usize| format!("unix:/{}", "a".repeat(length - 1));
    assert!(bind(&path(UNIX_PATH_BYTES_MAX)).is_ok());
    assert!(said(bind(&path(UNIX_PATH_BYTES_MAX + 1))).0.contains("108 bytes long"));
}

#[test]
fn binds_that_cannot_stand_together_conflict_both_ways() {
    let conflict = |a: &str, b: &str| {
        let (a, b) = (bind(a).unwrap(), bind(b).unwrap());
        assert_eq!(a.conflicts(&b), b.conflicts(&a), "{a} and {b}");
        a.conflicts(&b)
    };
    for (a, b) in [
        (":80", ":80"),
        (":80", "1.2.3.4:80"),
        (":80", "[::1]:80"),
        ("0.0.0.0:80", "1.2.3.4:80"),
        ("[::]:80", "[::1]:80"),
        ("1.2.3.4:80", "1.2.3.4:80"),
        ("unix:/a", "unix:/a"),
    ] {
        assert!(conflict(a, b), "{a} and {b}");
    }
    for (a, b) in [
        (":80", ":81"),
        (":0", ":0"),
        (":0", "1.2.3.4:0"),
        ("1.2.3.4:0", "1.2.3.4:0"),
        ("1.2.3.4:80", "1.2.3.5:80"),
        ("0.0.0.0:80", "[::1]:80"),
        ("0.0.0.0:80", "[::]:80"),
        ("unix:/a", "unix:/b"),
        ("unix:/a", ":80"),
    ] {
        assert!(!conflict(a, b), "{a} and {b}");
    }
}
