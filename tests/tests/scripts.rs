//! What the scripts share: the ports of the clusters that they start, and whose settings reach those.

use std::{fs, path::Path, process::Command};

use anyhow::{Result, ensure};
use bazaar_domain::config::ClusterConfig;
use tempfile::TempDir;

/// Runs lines of a script that has `scripts/lib.sh`; returns what they print.
fn bash(lines: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Result<String> {
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/lib.sh");
    let program = format!("set -euo pipefail; . '{}'; {lines}", library.display());
    let mut command = Command::new("bash");
    let output = command.args(["-c", &program, "bash"]).args(arguments).envs(variables.iter().copied()).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn a_cluster_gets_ports_of_its_own_also_where_they_overlap_with_those_of_the_configuration() -> Result<()> {
    let folder = TempDir::new()?;
    let own = folder.path().join("a folder");
    let own_text = own.to_string_lossy();
    for first in [8081_u16, 8079, 16_010, 27_000] {
        bash("own_config \"$1\" \"$2\"", &[&own_text, &first.to_string()], &[])?;
        let config = ClusterConfig::parse(&fs::read_to_string(own.join("cluster.toml"))?)?;
        let frontend = &config.frontend;
        let mut ports = vec![frontend.public.port(), frontend.internal.port(), frontend.admin.port()];
        let others = config.replicas.iter().flat_map(|replica| [&replica.service, &replica.peers, &replica.admin]);
        ports.extend([&config.catalog.service].into_iter().chain(others).map(|address| address.port()));
        ensure!(ports == (first..).take(13).collect::<Vec<_>>(), "from {first} on: {ports:?}");
        let back = "sed \"$(moved_ports \"$2\" back)\" \"$1/cluster.toml\" | diff - config/cluster.toml";
        bash(back, &[&own_text, &first.to_string()], &[])?;
    }
    Ok(())
}

#[test]
fn what_the_environment_says_of_another_cluster_does_not_reach_one_of_a_script() -> Result<()> {
    let settings = [("BAZAAR_URL", "http://example.com"), ("BAZAAR_TRADE_REPEAT", "9"), ("BAZAARS", "kept")];
    let left = bash("forget_settings; env | grep ^BAZAAR", &[], &settings)?;
    ensure!(left.lines().eq(["BAZAARS=kept"]), "{left}");
    Ok(())
}
