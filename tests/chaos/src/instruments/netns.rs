//! A network namespace for one server, joined to ours by a pair of links that can be taken down while both sides
//! run on: a partition as the kernel makes it.

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};

use doorbuster::servers::RedisOptions;

use super::InstrumentError;
use super::leftovers::{is_abandoned, own_name, probe, run};

const INSTRUMENT: &str = "a network namespace";
/// 198.18.0.0/15 is kept for tests and never routed (RFC 2544, RFC 6890); each island takes four addresses.
const BASE: u32 = u32::from_be_bytes([198, 18, 0, 0]);
const SUBNETS: u32 = (1 << 17) / 4;
const SUBNET_ATTEMPTS: u32 = 16;

/// A namespace of its own. Dropping it removes it, and the links with it.
pub struct Island {
    namespace: String,
    /// Our end of the pair. Interface names have at most 15 letters.
    link: String,
    address: Ipv4Addr,
    /// Address of our end.
    ours: Ipv4Addr,
}

impl Island {
    /// Makes a namespace and joins it to ours.
    ///
    /// # Errors
    /// [`InstrumentError::Unavailable`] where this user may not, or `ip` or `nsenter` is missing;
    /// [`InstrumentError::Command`].
    pub fn make() -> Result<Self, InstrumentError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        remove_abandoned();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let namespace = own_name(number);
        probe(INSTRUMENT, "nsenter", &["--version"])?;
        probe(INSTRUMENT, "ip", &["netns", "add", &namespace])?;
        let (ours, address) = free_subnet()?;
        // Made before the rest is tried, so that a failure below removes what is there.
        let island = Self { namespace, link: format!("dbc{}h{number}", std::process::id()), address, ours };
        island.join()?;
        Ok(island)
    }

    fn join(&self) -> Result<(), InstrumentError> {
        let (ours, theirs) = (format!("{}/30", self.ours), format!("{}/30", self.address));
        let (link, inside) = (self.link.as_str(), self.namespace.as_str());
        probe(
            INSTRUMENT,
            "ip",
            &["link", "add", link, "type", "veth", "peer", "name", "sea", "netns", inside],
        )?;
        run(INSTRUMENT, "ip", &["addr", "add", &ours, "dev", link])?;
        run(INSTRUMENT, "ip", &["link", "set", link, "up"])?;
        run(INSTRUMENT, "ip", &["-n", inside, "addr", "add", &theirs, "dev", "sea"])?;
        run(INSTRUMENT, "ip", &["-n", inside, "link", "set", "lo", "up"])?;
        self.heal()
    }

    /// Address at which whoever runs in it is reached.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// What to put before a command so that it runs in it; the command keeps the process id.
    #[must_use]
    pub fn launcher(&self) -> Vec<OsString> {
        vec!["nsenter".into(), format!("--net=/run/netns/{}", self.namespace).into()]
    }

    /// A Redis that lives in it.
    #[must_use]
    pub fn redis(&self, mut options: RedisOptions) -> RedisOptions {
        options.launcher = self.launcher();
        options.host = Some(self.address.into());
        open_to_others(options)
    }

    /// A Redis that lives outside, and is reached from inside as well.
    #[must_use]
    pub fn redis_outside(&self, mut options: RedisOptions) -> RedisOptions {
        options.host = Some(self.ours.into());
        open_to_others(options)
    }

    /// Takes the link down: no packet passes, nobody is told, everybody runs on.
    ///
    /// # Errors
    /// [`InstrumentError::Command`].
    pub fn cut(&self) -> Result<(), InstrumentError> {
        // Their end: with ours down the system would answer "unreachable" at once, as no real partition does.
        run(INSTRUMENT, "ip", &["-n", &self.namespace, "link", "set", "sea", "down"]).map(drop)
    }

    /// Brings the link up again.
    ///
    /// # Errors
    /// [`InstrumentError::Command`].
    pub fn heal(&self) -> Result<(), InstrumentError> {
        run(INSTRUMENT, "ip", &["-n", &self.namespace, "link", "set", "sea", "up"]).map(drop)
    }
}

impl Drop for Island {
    fn drop(&mut self) {
        // The link first: the namespace lives on, without a name, while a process is in it.
        let _ = run(INSTRUMENT, "ip", &["link", "del", &self.link]);
        let _ = run(INSTRUMENT, "ip", &["netns", "del", &self.namespace]);
    }
}

/// It refuses whoever does not come from loopback, unless there is a password.
fn open_to_others(mut options: RedisOptions) -> RedisOptions {
    options.extra_args.push(("protected-mode".to_owned(), "no".to_owned()));
    options
}

/// Our address and theirs, of a subnet that nobody on this machine uses.
fn free_subnet() -> Result<(Ipv4Addr, Ipv4Addr), InstrumentError> {
    let used = run(INSTRUMENT, "ip", &["-o", "-4", "addr", "show"])?;
    for _ in 0..SUBNET_ATTEMPTS {
        let base = BASE + 4 * fastrand::u32(0..SUBNETS);
        let (ours, theirs) = (Ipv4Addr::from(base + 1), Ipv4Addr::from(base + 2));
        if !used.contains(&format!(" {ours}/")) && !used.contains(&format!(" {theirs}/")) {
            return Ok((ours, theirs));
        }
    }
    Err(InstrumentError::Unavailable { instrument: INSTRUMENT, reason: "no free subnet".to_owned() })
}

/// Removing a namespace in which nobody runs removes its end of the pair, and so ours.
fn remove_abandoned() {
    let names = run(INSTRUMENT, "ip", &["netns", "list"]).unwrap_or_default();
    for name in names.lines().filter_map(|line| line.split(' ').next()).filter(|name| is_abandoned(name)) {
        // Another run may be faster; then there is nothing left to do.
        let _ = run(INSTRUMENT, "ip", &["netns", "del", name]);
    }
}
