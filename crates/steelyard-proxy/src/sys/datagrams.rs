//! Datagrams, many to a call, with the address of ours that each was written to.

use std::fmt;
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

/// Datagrams to a call.
pub const BATCH: usize = 32;
/// Room for one datagram: more than the largest that there can be (65,535 bytes with its header), so that none is cut.
const DATAGRAM_BYTES: usize = 1 << 16;
/// Room for what comes beside a datagram; an address takes 40 bytes.
const BESIDE_BYTES: usize = 64;

/// What comes beside a datagram, aligned as the system wants it.
#[derive(Clone, Copy)]
#[repr(align(8))]
struct Beside([u8; BESIDE_BYTES]);

/// What is known of one datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Its bytes.
    pub length: usize,
    /// Whether they are all that was sent.
    pub whole: bool,
    /// Who sent it, or who is to get it. On a socket of both families an IPv4 address is a mapped one.
    pub peer: SocketAddr,
    /// The address of ours that it was written to, or that it is to come from; `None` = the socket has only one.
    pub local: Option<IpAddr>,
}

/// Room for [`BATCH`] datagrams. Memory that no datagram has reached is never touched.
pub struct Batch {
    bytes: Vec<u8>,
    heads: [Head; BATCH],
    names: Vec<libc::sockaddr_storage>,
    besides: Vec<Beside>,
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").finish_non_exhaustive()
    }
}

impl Default for Batch {
    fn default() -> Self {
        let nobody = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        // SAFETY: an address of no family is all zero.
        let name: libc::sockaddr_storage = unsafe { zeroed() };
        Self {
            bytes: vec![0; BATCH * DATAGRAM_BYTES],
            heads: [Head { length: 0, whole: true, peer: nobody, local: None }; BATCH],
            names: vec![name; BATCH],
            besides: vec![Beside([0; BESIDE_BYTES]); BATCH],
        }
    }
}

impl Batch {
    /// What is known of the datagram at a place.
    pub fn head(&self, place: usize) -> &Head {
        &self.heads[place]
    }

    /// The same, to be changed before it is sent on.
    pub fn head_mut(&mut self, place: usize) -> &mut Head {
        &mut self.heads[place]
    }

    /// Receives what is there into the places from `from` on, of which there is at least one; returns how many came.
    /// It never waits.
    pub fn receive(&mut self, socket: &impl AsFd, from: usize) -> io::Result<usize> {
        // SAFETY: zero is a value of both: no address, no buffer.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
        let mut parts: [libc::iovec; BATCH] = unsafe { zeroed() };
        for place in from..BATCH {
            let room = &mut self.bytes[place * DATAGRAM_BYTES..][..DATAGRAM_BYTES];
            parts[place] = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
            let header = &mut headers[place].msg_hdr;
            header.msg_iov = &raw mut parts[place];
            header.msg_iovlen = 1;
            header.msg_name = (&raw mut self.names[place]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_control = self.besides[place].0.as_mut_ptr().cast();
            header.msg_controllen = BESIDE_BYTES as _;
        }
        // SAFETY: each header points to memory of this batch or this frame, with its true length, and nothing else
        // uses that until the call has returned.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_fd().as_raw_fd(),
                headers[from..].as_mut_ptr(),
                (BATCH - from) as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        for (place, header) in headers.iter().enumerate().skip(from).take(count) {
            let head = &mut self.heads[place];
            head.length = header.msg_len as usize;
            head.whole = header.msg_hdr.msg_flags & libc::MSG_TRUNC == 0;
            if let Some(peer) = read_name(&self.names[place]) {
                head.peer = peer;
            }
            head.local = read_beside(&header.msg_hdr);
        }
        Ok(count)
    }

    /// Sends the datagrams at these places, of which there is at least one; returns how many went. With `addressed` each
    /// goes to its peer, from its local address; otherwise to whom the socket is connected to. It never waits. An error
    /// is that of the first one.
    pub fn send(&mut self, socket: &impl AsFd, places: Range<usize>, addressed: bool) -> io::Result<usize> {
        // SAFETY: as in `receive`.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
        let mut parts: [libc::iovec; BATCH] = unsafe { zeroed() };
        for place in places.clone() {
            let head = self.heads[place];
            let bytes = &mut self.bytes[place * DATAGRAM_BYTES..][..head.length];
            parts[place] = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
            let header = &mut headers[place].msg_hdr;
            header.msg_iov = &raw mut parts[place];
            header.msg_iovlen = 1;
            if addressed {
                header.msg_namelen = write_name(&mut self.names[place], head.peer);
                header.msg_name = (&raw mut self.names[place]).cast();
                if let Some(local) = head.local {
                    header.msg_control = self.besides[place].0.as_mut_ptr().cast();
                    header.msg_controllen = BESIDE_BYTES as _;
                    write_beside(header, local);
                }
            }
        }
        // SAFETY: as in `receive`; the call only reads.
        let count = unsafe {
            libc::sendmmsg(
                socket.as_fd().as_raw_fd(),
                headers[places.start..].as_mut_ptr(),
                places.len() as libc::c_uint,
                (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _,
            )
        };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }
}

/// Lets a socket say of each datagram which address of ours it was written to.
pub fn tell_local_addresses(socket: &impl AsFd, ipv6: bool) -> io::Result<()> {
    let (level, option) = if ipv6 {
        (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)
    } else {
        (libc::IPPROTO_IP, libc::IP_PKTINFO)
    };
    let on: libc::c_int = 1;
    // SAFETY: the kernel reads one integer, which outlives the call.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn read_name(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that it is one of these, for which a storage has room and alignment.
            let name = unsafe { &*(&raw const *name).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
            Some(SocketAddr::from((ip, u16::from_be(name.sin_port))))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let name = unsafe { &*(&raw const *name).cast::<libc::sockaddr_in6>() };
            let (ip, port) = (Ipv6Addr::from(name.sin6_addr.s6_addr), u16::from_be(name.sin6_port));
            Some(SocketAddrV6::new(ip, port, 0, name.sin6_scope_id).into())
        }
        _ => None,
    }
}

fn write_name(name: &mut libc::sockaddr_storage, peer: SocketAddr) -> libc::socklen_t {
    let length = match peer {
        SocketAddr::V4(peer) => {
            // SAFETY: a storage has room and alignment for one of these, of which zero is a value.
            let name = unsafe { &mut *(&raw mut *name).cast::<libc::sockaddr_in>() };
            // SAFETY: zero is a value of it.
            *name = unsafe { zeroed() };
            name.sin_family = libc::AF_INET as libc::sa_family_t;
            name.sin_port = peer.port().to_be();
            name.sin_addr.s_addr = u32::from(*peer.ip()).to_be();
            size_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(peer) => {
            // SAFETY: as above.
            let name = unsafe { &mut *(&raw mut *name).cast::<libc::sockaddr_in6>() };
            // SAFETY: zero is a value of it.
            *name = unsafe { zeroed() };
            name.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            name.sin6_port = peer.port().to_be();
            name.sin6_addr.s6_addr = peer.ip().octets();
            name.sin6_scope_id = peer.scope_id();
            size_of::<libc::sockaddr_in6>()
        }
    };
    length as libc::socklen_t
}

/// The address of ours beside a received datagram.
fn read_beside(header: &libc::msghdr) -> Option<IpAddr> {
    // SAFETY: the kernel has filled in what the header points to, whole items that these walk by their lengths.
    let mut item = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !item.is_null() {
        // SAFETY: it points to an item within the memory that the kernel has filled in.
        let (level, kind) = unsafe { ((*item).cmsg_level, (*item).cmsg_type) };
        match (level, kind) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                // SAFETY: an item of this kind holds one of these, at whatever alignment.
                let info = unsafe { libc::CMSG_DATA(item).cast::<libc::in_pktinfo>().read_unaligned() };
                // Not what the datagram was addressed to, which may be a broadcast, but what answers it.
                return Some(Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr)).into());
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                // SAFETY: as above.
                let info = unsafe { libc::CMSG_DATA(item).cast::<libc::in6_pktinfo>().read_unaligned() };
                return Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
            }
            // SAFETY: as for the first.
            _ => item = unsafe { libc::CMSG_NXTHDR(header, item) },
        }
    }
    None
}

/// Puts the address of ours beside a datagram that is to be sent.
fn write_beside(header: &mut libc::msghdr, local: IpAddr) {
    // SAFETY: zero is a value of all of these. The header points to `BESIDE_BYTES`, aligned for an item's head, which is
    // more than one item of either kind takes.
    unsafe {
        let item = libc::CMSG_FIRSTHDR(header);
        let bytes = match local {
            IpAddr::V4(local) => {
                let mut info: libc::in_pktinfo = zeroed();
                info.ipi_spec_dst.s_addr = u32::from(local).to_be();
                (*item).cmsg_level = libc::IPPROTO_IP;
                (*item).cmsg_type = libc::IP_PKTINFO;
                libc::CMSG_DATA(item).cast::<libc::in_pktinfo>().write_unaligned(info);
                size_of::<libc::in_pktinfo>()
            }
            IpAddr::V6(local) => {
                let mut info: libc::in6_pktinfo = zeroed();
                info.ipi6_addr.s6_addr = local.octets();
                (*item).cmsg_level = libc::IPPROTO_IPV6;
                (*item).cmsg_type = libc::IPV6_PKTINFO;
                libc::CMSG_DATA(item).cast::<libc::in6_pktinfo>().write_unaligned(info);
                size_of::<libc::in6_pktinfo>()
            }
        } as libc::c_uint;
        (*item).cmsg_len = libc::CMSG_LEN(bytes) as _;
        header.msg_controllen = libc::CMSG_SPACE(bytes) as _;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::time::Duration;

    fn pair(bind: &str, to: &str) -> (UdpSocket, UdpSocket) {
        let receiver = UdpSocket::bind(bind).unwrap();
        let sender = UdpSocket::bind(to).unwrap();
        let port = receiver.local_addr().unwrap().port();
        sender.connect(SocketAddr::new(sender.local_addr().unwrap().ip(), port)).unwrap();
        for socket in [&receiver, &sender] {
            socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        }
        (receiver, sender)
    }

    #[test]
    fn several_come_with_one_call_whole_and_in_order() {
        let (receiver, sender) = pair("127.0.0.1:0", "127.0.0.1:0");
        let large = vec![7; 65_507];
        for bytes in [&b"one"[..], b"", &large] {
            sender.send(bytes).unwrap();
        }
        let mut batch = Batch::default();
        assert_eq!(batch.receive(&receiver, 5).unwrap(), 3);
        let lengths: Vec<_> = (5..8).map(|place| batch.head(place).length).collect();
        assert_eq!(lengths, [3, 0, 65_507]);
        assert!((5..8).all(|place| batch.head(place).whole));
        assert_eq!(batch.head(5).peer, sender.local_addr().unwrap());
        assert_eq!(batch.head(5).local, None);
        assert_eq!(batch.receive(&receiver, 0).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn what_was_received_is_sent_on_as_it_came() {
        let (receiver, sender) = pair("127.0.0.1:0", "127.0.0.1:0");
        let (last, middle) = pair("127.0.0.1:0", "127.0.0.1:0");
        sender.send(b"one").unwrap();
        sender.send(b"").unwrap();
        let mut batch = Batch::default();
        batch.receive(&receiver, 0).unwrap();
        assert_eq!(batch.send(&middle, 0..2, false).unwrap(), 2);
        let mut bytes = [0; 10];
        assert_eq!(last.recv(&mut bytes).unwrap(), 3);
        assert_eq!(&bytes[..3], b"one");
        assert_eq!(last.recv(&mut bytes).unwrap(), 0);
    }

    /// Both ways: the address that a datagram was written to is told, and its answer leaves from there.
    #[test]
    fn answers_leave_from_the_address_that_was_written_to() {
        for (bind, from, ipv6) in [
            ("0.0.0.0:0", "127.0.0.5:0", false),
            ("[::]:0", "127.0.0.5:0", true),
            ("[::]:0", "[::1]:0", true),
        ] {
            let (receiver, sender) = pair(bind, from);
            tell_local_addresses(&receiver, ipv6).unwrap();
            sender.send(b"ask").unwrap();
            let mut batch = Batch::default();
            assert_eq!(batch.receive(&receiver, 0).unwrap(), 1);
            let local = batch.head(0).local.unwrap();
            assert_eq!(local.to_canonical(), sender.peer_addr().unwrap().ip(), "{bind} {from}");
            // A connected socket takes what comes from its peer alone.
            assert_eq!(batch.send(&receiver, 0..1, true).unwrap(), 1);
            assert_eq!(sender.recv(&mut [0; 10]).unwrap(), 3, "{bind} {from}");
        }
    }
}
