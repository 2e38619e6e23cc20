//! A network of its own for a cluster: each host a network namespace, all joined by a bridge, and ways between any two
//! of them that can be cut, in one direction or in both. It needs Linux, root and `ip` (iproute2).

use std::{
    fmt::Write as _,
    fs,
    io::{ErrorKind, Write as _},
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::MetadataExt as _,
    path::Path,
    process::{Command, Stdio, id},
    sync::atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context, Result, ensure};

/// Beginning of the names of our namespaces; the number of the test's process follows.
const NAMESPACE_PREFIX: &str = "bazaar-";
/// Where `ip netns` keeps the names.
const NAMESPACES: &str = "/run/netns";
/// The test itself, as a host.
pub const OBSERVER: Host = Host(254);
/// Nobody's hardware address: the bridge carries a frame for it to everybody, and nobody takes it.
const NOBODY: u8 = 255;
/// A connection that does not come about in this many seconds is held to be cut.
const REACHES_WITHIN_S: &str = "0.5";
/// Subnets that are tried before a test gives up.
const SUBNETS_TRIED: usize = 64;

/// What the system says when it does not permit a namespace or a cable, or knows no such things.
const NOT_PERMITTED: [&str; 4] =
    ["Operation not permitted", "Permission denied", "Operation not supported", "Unknown device type"];

/// Networks that this process has laid, for names that are unique among them.
static LAID: AtomicUsize = AtomicUsize::new(0);

/// A host; its number is the last one of its address, 1 to 253.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Host(pub u8);

/// Hosts that reach each other, and the test that reaches them all; removed when it is dropped.
///
/// A way is cut by giving the sender a wrong hardware address for the receiver. So packets are lost without a word, as
/// in a real network. A route to nowhere would be simpler, but tells the sender at once, by an error of its system call.
#[derive(Debug)]
pub struct Network {
    /// What the names of all namespaces begin with.
    name: String,
    subnet: [u8; 3],
    hosts: Vec<Host>,
    /// Whether the test's own cable is ours.
    own_link_made: bool,
}

impl Network {
    /// Lays a network for these hosts; `None`, with the reason printed, where the system does not permit it.
    ///
    /// # Errors
    /// If it is permitted, but fails.
    pub fn lay(hosts: &[Host]) -> Result<Option<Self>> {
        if let Some(reason) = reason_to_skip()? {
            return Ok(skipped(reason));
        }
        remove_leftovers();
        let number = LAID.fetch_add(1, Ordering::Relaxed);
        let (subnet, name) = (free_subnet(number)?, format!("{NAMESPACE_PREFIX}{}-{number}", id()));
        // From here on, dropping it removes what has been made so far.
        let mut network = Self { name, subnet, hosts: hosts.to_vec(), own_link_made: false };
        if let Err(error) = network.try_out() {
            let said = format!("{error:#}");
            return if NOT_PERMITTED.iter().any(|no| said.contains(no)) { Ok(skipped(&said)) } else { Err(error) };
        }
        network.lay_bridge()?;
        for host in hosts {
            network.join(*host)?;
        }
        Ok(Some(network))
    }

    /// The first namespace and the first cable: after this, the system has shown that it permits what is needed.
    fn try_out(&mut self) -> Result<()> {
        let bridge = self.bridge();
        ip(&["netns", "add", &bridge], "")?;
        ip(&["netns", "exec", &bridge, "true"], "")?;
        self.cable(OBSERVER, &self.own_link(), None)?;
        self.own_link_made = true;
        Ok(())
    }

    /// The bridge and the test's own way to it.
    fn lay_bridge(&self) -> Result<()> {
        let own = self.own_link();
        ip(&["-n", &self.bridge(), "-batch", "-"], "link add bridge type bridge\nlink set bridge up\n")?;
        self.plug_in(OBSERVER)?;
        ip(&["-batch", "-"], &self.settings(OBSERVER, &own)?)
    }

    /// Makes a host and connects it.
    fn join(&self, host: Host) -> Result<()> {
        let namespace = self.namespace(host);
        ip(&["netns", "add", &namespace], "")?;
        self.cable(host, "eth0", Some(&namespace))?;
        self.plug_in(host)?;
        ip(&["-n", &namespace, "-batch", "-"], &format!("link set lo up\n{}", self.settings(host, "eth0")?))
    }

    /// A cable from a host to the bridge's namespace.
    fn cable(&self, host: Host, link: &str, namespace: Option<&str>) -> Result<()> {
        let (bridge, plug, hardware) = (self.bridge(), plug(host), hardware(host.0));
        let cable =
            ["link", "add", link, "address", &hardware, "type", "veth", "peer", "name", &plug, "netns", &bridge];
        let words = namespace.map_or(vec![], |namespace| vec!["-n", namespace]);
        ip(&[&words[..], &cable].concat(), "")
    }

    fn plug_in(&self, host: Host) -> Result<()> {
        ip(&["-n", &self.bridge(), "link", "set", &plug(host), "master", "bridge", "up"], "")
    }

    /// A host's address, and the hardware addresses of all others: nobody ever has to ask for one.
    fn settings(&self, host: Host, link: &str) -> Result<String> {
        let mut lines = format!("addr add {}/24 dev {link}\nlink set {link} up\n", self.address(host));
        for other in self.hosts.iter().copied().chain([OBSERVER]).filter(|other| *other != host) {
            writeln!(lines, "{}", self.neighbour(link, other, other.0))?;
        }
        Ok(lines)
    }

    fn neighbour(&self, link: &str, of: Host, known_as: u8) -> String {
        format!("neigh replace {} lladdr {} nud permanent dev {link}", self.address(of), hardware(known_as))
    }

    fn bridge(&self) -> String {
        format!("{}-bridge", self.name)
    }

    fn namespace(&self, host: Host) -> String {
        format!("{}-{}", self.name, host.0)
    }

    /// The test's end of its cable. Links have short names, and the subnet is taken by one network only.
    fn own_link(&self) -> String {
        format!("bazaar{}-{}", self.subnet[1], self.subnet[2])
    }

    /// A host's address.
    pub fn address(&self, host: Host) -> Ipv4Addr {
        let [a, b, c] = self.subnet;
        Ipv4Addr::new(a, b, c, host.0)
    }

    /// What a program is started under to be on a host, see [`crate::process::Process::start_under`].
    pub fn on(&self, host: Host) -> Vec<String> {
        ["ip", "netns", "exec"].map(str::to_owned).into_iter().chain([self.namespace(host)]).collect()
    }

    /// From now on, nothing that one host sends reaches the other. The other direction stays as it is.
    ///
    /// # Errors
    /// If it cannot be cut.
    pub fn cut(&self, from: Host, to: Host) -> Result<()> {
        self.tell(from, &self.neighbour("eth0", to, NOBODY))
    }

    /// Cuts all ways between these hosts and those, in both directions.
    ///
    /// # Errors
    /// If one cannot be cut.
    pub fn part(&self, these: &[Host], those: &[Host]) -> Result<()> {
        for this in these {
            for that in those.iter().filter(|that| *that != this) {
                self.cut(*this, *that)?;
                self.cut(*that, *this)?;
            }
        }
        Ok(())
    }

    /// Cuts a host off from all others, except from the test.
    ///
    /// # Errors
    /// If a way cannot be cut.
    pub fn isolate(&self, host: Host) -> Result<()> {
        self.part(&[host], &self.hosts)
    }

    /// Mends all ways.
    ///
    /// # Errors
    /// If one cannot be mended.
    pub fn heal(&self) -> Result<()> {
        for from in &self.hosts {
            let others = self.hosts.iter().filter(|to| *to != from);
            let lines: Vec<String> = others.map(|to| self.neighbour("eth0", *to, to.0)).collect();
            self.tell(*from, &lines.join("\n"))?;
        }
        Ok(())
    }

    /// Whether hosts can be given rules for their packets; if not, the reason is printed.
    pub fn can_filter(&self) -> bool {
        let found = Command::new("nft").arg("--version").output().is_ok();
        if !found {
            println!("skipped: there is no nft (Debian: nftables)");
        }
        found
    }

    /// Gives a host these rules for its packets (nftables), instead of those that it had; an empty text takes them away.
    /// `lines` are the chains of one table.
    ///
    /// # Errors
    /// If `nft` refuses them.
    pub fn filter(&self, host: Host, lines: &str) -> Result<()> {
        let table = if lines.is_empty() { String::new() } else { format!("table ip chaos {{\n{lines}\n}}\n") };
        // Adding it first makes it right to remove it, also if there is none.
        let all = format!("add table ip chaos\ndelete table ip chaos\n{table}");
        run("nft", &self.in_namespace(host, &["nft", "-f", "-"]), &all).map(drop)
    }

    /// How many packets the counters of a host's rules have counted.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn filtered(&self, host: Host) -> Result<u64> {
        let listed = run("nft", &self.in_namespace(host, &["nft", "list", "table", "ip", "chaos"]), "")?;
        let counts =
            listed.split("counter packets ").skip(1).filter_map(|rest| rest.split(' ').next()?.parse::<u64>().ok());
        Ok(counts.sum())
    }

    /// Whether a connection from one host to an address of another comes about at once.
    ///
    /// # Errors
    /// If it cannot be tried.
    pub fn reaches(&self, from: Host, to: SocketAddr) -> Result<bool> {
        let connect = format!("exec 3<>/dev/tcp/{}/{}", to.ip(), to.port());
        let words = self.in_namespace(from, &["timeout", REACHES_WITHIN_S, "bash", "-c", &connect]);
        let status = Command::new(&words[0]).args(&words[1..]).stderr(Stdio::null()).status();
        Ok(status.context("ip cannot be started")?.success())
    }

    fn in_namespace(&self, host: Host, command: &[&str]) -> Vec<String> {
        self.on(host).into_iter().chain(command.iter().map(|word| (*word).to_owned())).collect()
    }

    fn tell(&self, host: Host, lines: &str) -> Result<()> {
        ip(&["-n", &self.namespace(host), "-batch", "-"], &format!("{lines}\n"))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // Errors mean that it is not there. A namespace takes its links with it, and a link its other end; our own goes
        // first, by name, since a namespace is removed only some time after its name.
        if self.own_link_made {
            let _ = ip(&["link", "del", &self.own_link()], "");
        }
        for namespace in self.hosts.iter().map(|host| self.namespace(*host)).chain([self.bridge()]) {
            let _ = ip(&["netns", "del", &namespace], "");
        }
    }
}

/// The bridge's end of a host's cable.
fn plug(host: Host) -> String {
    format!("host{}", host.0)
}

fn hardware(number: u8) -> String {
    format!("02:00:00:00:00:{number:02x}")
}

/// Runs `ip` with these lines as its input.
fn ip(arguments: &[&str], lines: &str) -> Result<()> {
    output_of_ip(arguments, lines).map(drop)
}

fn output_of_ip(arguments: &[&str], lines: &str) -> Result<String> {
    let words: Vec<String> = ["ip"].iter().chain(arguments).map(|word| (*word).to_owned()).collect();
    run("ip", &words, lines)
}

/// Runs a command with these lines as its input; `program` is what it is called in errors.
fn run(program: &str, words: &[String], lines: &str) -> Result<String> {
    let mut child = Command::new(&words[0])
        .args(&words[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{program} cannot be started"))?;
    // Few enough for a pipe, so that writing does not wait. One that has ended by then says more itself.
    let _ = child.stdin.take().context("an input")?.write_all(lines.as_bytes());
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} failed: {}", words.join(" "), said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Why nothing needs to be tried.
fn reason_to_skip() -> Result<Option<&'static str>> {
    if fs::metadata("/proc/self")?.uid() != 0 {
        return Ok(Some("only root may"));
    }
    match Command::new("ip").arg("-Version").output() {
        Ok(_) => Ok(None),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Some("there is no ip (Debian: iproute2)")),
        Err(error) => Err(error.into()),
    }
}

fn skipped<T>(reason: &str) -> Option<T> {
    println!("skipped: no network can be made of namespaces: {reason}");
    None
}

/// A subnet to which this machine has no route yet.
fn free_subnet(number: usize) -> Result<[u8; 3]> {
    let first = usize::try_from(id())? * 7 + number;
    for candidate in first..first + SUBNETS_TRIED {
        let subnet = [10, 200 + u8::try_from(candidate / 256 % 50)?, u8::try_from(candidate % 256)?];
        let [a, b, c] = subnet;
        let range = format!("{a}.{b}.{c}.0/24");
        let inside = output_of_ip(&["-o", "route", "show", "table", "all", "root", &range], "")?;
        let around = output_of_ip(&["-o", "route", "show", "table", "all", "match", &range], "")?;
        if inside.is_empty() && around.lines().all(|route| route.starts_with("default")) {
            return Ok(subnet);
        }
    }
    anyhow::bail!("no subnet of {SUBNETS_TRIED} is free")
}

/// Kills what still runs in a namespace.
fn kill_all_in(namespace: &str) -> Result<()> {
    let processes = output_of_ip(&["netns", "pids", namespace], "")?;
    let words = ["kill", "-KILL"].into_iter().chain(processes.split_whitespace());
    run("kill", &words.map(str::to_owned).collect::<Vec<_>>(), "").map(drop)
}

/// Removes the namespaces of tests that were killed before they could do so, with what runs there.
fn remove_leftovers() {
    let Ok(namespaces) = fs::read_dir(NAMESPACES) else { return };
    for name in namespaces.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
        let owner = name.strip_prefix(NAMESPACE_PREFIX).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if owner.is_some_and(|owner| !Path::new(&format!("/proc/{owner}")).exists()) {
            // Another test may have removed it meanwhile.
            let _ = kill_all_in(&name);
            let _ = ip(&["netns", "del", &name], "");
        }
    }
}
