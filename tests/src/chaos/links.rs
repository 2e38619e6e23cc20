//! Networks that are cut, lossy or slow, and connections that are treated badly.

use std::{collections::BTreeMap, fmt::Write as _, net::IpAddr, time::Duration};

use anyhow::{Context, Result};

use super::{Chaos, Kind, happened};
use crate::{
    Cluster, Name,
    cluster::REPLICAS,
    network::{Host, Network, OBSERVER},
    proxy::{Proxy, Treatment},
    wait_until,
};

/// How long a network is wrong: below and far above the length of a lease and of an election.
const LEAST: Duration = Duration::from_millis(200);
const MOST: Duration = Duration::from_secs(4);
/// Packets that a lossy network loses, of a hundred.
const LOSS_PERCENT: [u64; 4] = [2, 10, 30, 60];
/// How late bytes are.
const DELAYS_MS: [u64; 4] = [5, 40, 200, 700];
/// How long connections live that are cut.
const LIVES_MS: [u64; 3] = [3, 40, 300];
/// How much later requests come that are repeated or held: while leases, leaders and sessions last, and when they are
/// others.
const LATER_MS: [u64; 3] = [30, 700, 2_500];

/// Who sends to whom, as far as connections are treated badly.
#[derive(Debug, Clone, Copy)]
enum Link {
    /// Every replica to every other one.
    Peers,
    /// Frontends to replicas: trades, order reads.
    Trades,
    /// Replicas to the catalog: publishes, grants.
    Publishes,
    /// The catalog to frontends: invalidations.
    Invalidations,
    /// Frontends to the catalog: lookups, leases.
    Lookups,
}

const LINKS: [Link; 5] = [Link::Peers, Link::Trades, Link::Publishes, Link::Invalidations, Link::Lookups];

impl Link {
    fn joins(self, from: Name, to: Name) -> bool {
        use Name::{Catalog, Frontend, Replica};
        match self {
            Self::Peers => matches!((from, to), (Replica(_), Replica(_))) && from != to,
            Self::Trades => matches!((from, to), (Frontend(_), Replica(_))),
            Self::Publishes => matches!((from, to), (Replica(_), Catalog)),
            Self::Invalidations => matches!((from, to), (Catalog, Frontend(_))),
            Self::Lookups => matches!((from, to), (Frontend(_), Catalog)),
        }
    }
}

impl Chaos {
    fn network(&self) -> Result<&Network> {
        self.cluster.network()
    }

    fn time(&mut self) -> Duration {
        self.draw.between(LEAST, MOST)
    }

    /// Parts these from those for a while; the first of each show that they are.
    async fn part(&mut self, these: &[Name], those: &[Name]) -> Result<String> {
        let hosts = |names: &[Name]| names.iter().map(|name| Cluster::host(*name)).collect::<Vec<Host>>();
        let ways = [(these[0], those[0]), (those[0], these[0])];
        self.reach(&ways).await?;
        self.network()?.part(&hosts(these), &hosts(those))?;
        self.do_not_reach(&ways)?;
        self.heal_later().await.map(|time| format!("{these:?} from {those:?}, for {time:?}"))
    }

    /// Ways that led somewhere before do not now; later they have to again.
    fn do_not_reach(&mut self, ways: &[(Name, Name)]) -> Result<()> {
        for (from, to) in ways {
            happened(!self.reaches(*from, *to)?, || format!("{from:?} reaches {to:?}"))?;
        }
        self.mended.extend(ways);
        Ok(())
    }

    pub(super) fn reaches(&self, from: Name, to: Name) -> Result<bool> {
        self.network()?.reaches(Cluster::host(from), self.cluster.reached_at(to, false)?)
    }

    async fn heal_later(&mut self) -> Result<Duration> {
        let time = self.time();
        self.last_for(time).await?;
        self.network()?.heal()?;
        Ok(time)
    }

    pub(super) async fn part_in_halves(&mut self) -> Result<String> {
        let lonely = Name::Replica(self.a_replica().await?);
        let (mut these, mut those) = (vec![lonely], Vec::new());
        let (mut frontends, mut others): (Vec<Name>, Vec<Name>) =
            self.cluster.names().filter(|name| *name != lonely).partition(|name| matches!(name, Name::Frontend(_)));
        self.draw.shuffle(&mut frontends);
        // What the clients of one half are told, those of the other half must not contradict: a frontend here, one there.
        these.extend(frontends.pop());
        those.extend(frontends.pop());
        others.extend(frontends);
        for name in others {
            let with_it = !matches!(name, Name::Replica(_)) && self.draw.one_in(2);
            if with_it { these.push(name) } else { those.push(name) }
        }
        self.part(&these, &those).await
    }

    pub(super) async fn isolate_leader(&mut self) -> Result<String> {
        let leader = Name::Replica(self.leader().await?);
        let others: Vec<Name> = self.cluster.names().filter(|name| *name != leader).collect();
        self.part(&[leader], &others).await
    }

    pub(super) async fn cut_one_way(&mut self) -> Result<String> {
        let leader = Name::Replica(self.leader().await?);
        let follower = Name::Replica(self.a_follower().await?);
        let frontend = self.a_frontend();
        let ways = [(leader, follower), (leader, Name::Catalog), (frontend, leader), (Name::Catalog, frontend)];
        let (one, other) = *self.draw.one_of(&ways);
        let (from, to) = if self.draw.one_in(2) { (one, other) } else { (other, one) };
        let way = [(from, to)];
        self.reach(&way).await?;
        self.network()?.cut(Cluster::host(from), Cluster::host(to))?;
        self.do_not_reach(&way)?;
        self.heal_later().await.map(|time| format!("from {from:?} to {to:?}, for {time:?}"))
    }

    pub(super) async fn leave_a_bridge(&mut self) -> Result<String> {
        let bridge = self.a_replica().await?;
        let ends: Vec<Name> = REPLICAS.into_iter().filter(|id| *id != bridge).map(Name::Replica).collect();
        self.part(&ends[..1], &ends[1..]).await
    }

    pub(super) async fn part_leader_and_catalog(&mut self) -> Result<String> {
        let leader = Name::Replica(self.leader().await?);
        self.part(&[leader], &[Name::Catalog]).await
    }

    pub(super) async fn part_frontend_and_catalog(&mut self) -> Result<String> {
        let frontend = self.a_frontend();
        self.part(&[frontend], &[Name::Catalog]).await
    }

    pub(super) async fn lose_packets(&mut self) -> Result<String> {
        let victim = self.a_process().await?;
        let (hook, field) = if self.draw.one_in(2) { ("output", "daddr") } else { ("input", "saddr") };
        let (percent, time) = (*self.draw.one_of(&LOSS_PERCENT), self.time());
        let (network, host) = (self.network()?, Cluster::host(victim));
        let observer = network.address(OBSERVER);
        // What clients see is not lost on their own way.
        network.filter(
            host,
            &format!(
                "chain loss {{ type filter hook {hook} priority 0;\n\
                 ip {field} != {{ 127.0.0.0/8, {observer} }} numgen random mod 100 < {percent} counter drop\n}}"
            ),
        )?;
        self.last_for(time).await?;
        // A host that is spoken to at all has lost a packet sooner or later.
        let lost = wait_until("a packet is lost", || async {
            self.network().ok()?.filtered(host).ok().filter(|lost| *lost > 0)
        });
        let lost = self.traffic.unless_faulty(lost).await?;
        self.network()?.filter(host, "")?;
        Ok(format!("{victim:?}, {lost} packets ({percent} % of its {hook}), for {time:?}"))
    }

    pub(super) async fn mistreat(&mut self, kind: Kind) -> Result<String> {
        let link = *self.draw.one_of(&LINKS);
        let treatment = self.treatment(kind)?;
        let proxies = self.interpose(link, treatment).await?;
        let time = self.time();
        self.last_for(time).await?;
        // A connection is treated when it has lived, or has been silent, for long enough.
        let what = format!("{link:?} are treated by {treatment:?}");
        let treated = || proxies.values().map(Proxy::treated).sum::<u64>();
        let treated = wait_until(&what, || async { Some(treated()).filter(|treated| *treated > 0) });
        let treated = self.traffic.unless_faulty(treated).await?;
        for name in self.cluster.names() {
            self.network()?.filter(Cluster::host(name), "")?;
        }
        Ok(format!("{link:?}, {treatment:?}, {treated} times, for {time:?}"))
    }

    fn treatment(&mut self, kind: Kind) -> Result<Treatment> {
        let mut one_of = |times: &[u64]| Duration::from_millis(*self.draw.one_of(times));
        Ok(match kind {
            Kind::Delay => Treatment::Delay(one_of(&DELAYS_MS)),
            Kind::Reset => Treatment::Reset(one_of(&LIVES_MS)),
            Kind::HalfClose => Treatment::HalfClose(one_of(&LIVES_MS)),
            Kind::Replay => Treatment::Replay(one_of(&LATER_MS)),
            Kind::Hold => Treatment::Hold(one_of(&LATER_MS)),
            other => anyhow::bail!("{other} is no treatment of connections"),
        })
    }

    /// Leads all connections of a link through proxies; those that are there already are reset.
    async fn interpose(&self, link: Link, treatment: Treatment) -> Result<BTreeMap<Name, Proxy>> {
        let network = self.network()?;
        let on = IpAddr::V4(network.address(OBSERVER));
        let mut proxies = BTreeMap::new();
        let names: Vec<Name> = self.cluster.names().collect();
        for to in names.iter().copied().filter(|to| names.iter().any(|from| link.joins(*from, *to))) {
            let listener = self.cluster.reached_at(to, matches!(link, Link::Peers))?;
            proxies.insert(to, Proxy::open(on, listener, treatment, &self.late).await?);
        }
        for from in names {
            let mut rules = (String::new(), String::new());
            for (_, proxy) in proxies.iter().filter(|(to, _)| link.joins(from, **to)) {
                let way = format!("ip daddr {} tcp dport {}", proxy.to.ip(), proxy.to.port());
                writeln!(rules.0, "{way} dnat to {}:{}", on, proxy.address.port())?;
                // New connections go elsewhere by now; only old ones come by here.
                writeln!(rules.1, "{way} reject with tcp reset")?;
            }
            if !rules.0.is_empty() {
                let (there, old) = rules;
                let chains = format!(
                    "chain there {{ type nat hook output priority -100;\n{there}}}\n\
                     chain old {{ type filter hook output priority 0;\n{old}}}"
                );
                network.filter(Cluster::host(from), &chains).with_context(|| format!("rules of {from:?}"))?;
            }
        }
        Ok(proxies)
    }
}
