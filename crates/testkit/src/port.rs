//! Free ports for servers that tests start.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Result, bail};

/// First and last port tried. Below the range from which the kernel takes ports for outgoing connections (32768 up):
/// a server that is killed and started again must find its port free, and a client that dials a port of that range on
/// its own machine while nobody listens can be connected to itself.
const RANGE: (u16, u16) = (20_000, 32_000);

/// Where this process looks next; starts at a place that differs between test processes.
static NEXT: AtomicU16 = AtomicU16::new(0);

/// A loopback address that nobody listens on and that this process has not been given before.
///
/// # Errors
/// When no port of the range is free.
pub fn free() -> Result<SocketAddr> {
    free_on(Ipv4Addr::LOCALHOST)
}

/// As [`free`], on another address of this machine.
///
/// # Errors
/// When no port of the range is free there.
pub fn free_on(host: Ipv4Addr) -> Result<SocketAddr> {
    let span = RANGE.1 - RANGE.0;
    let start = u16::try_from(std::process::id().wrapping_mul(97) % u32::from(span))?;
    for _ in 0..span {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = RANGE.0 + (start + step % span) % span;
        let address = SocketAddr::from((host, port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no free port between {} and {}", RANGE.0, RANGE.1)
}

#[cfg(test)]
mod tests {
    use super::free;

    #[test]
    fn nothing_is_given_twice() {
        let addresses: std::collections::HashSet<_> = (0..200).map(|_| free().unwrap()).collect();
        assert_eq!(addresses.len(), 200);
    }
}
