//! Containers without an engine: a program with the environment, user, files and capabilities that `compose.yaml` and the
//! `Dockerfile` give it, as process 1 of its own namespaces, on a host of a network of namespaces.
//!
//! The image's own files are this machine's `/usr` and the built binaries, or the folder that `BAZAAR_IMAGE_ROOT` names.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use bazaar_tests::{
    process::{Process, binary},
    wait::WAIT_MAX,
    wait_until,
};

use crate::compose::{Image, Service, project};

/// Makes the container's files and becomes its program. Arguments: the container's empty folder, the image's folder (empty
/// for none), the binaries' folder, the hosts file, then `SOURCE=TARGET` for each volume, `--`, and the program.
const ENTER: &str = r#"
set -e
root=$1 image=$2 binaries=$3 hosts=$4
shift 4
if [ -n "$image" ]; then
  mount --bind "$image" "$root"
else
  mount -t tmpfs -o mode=755 none "$root"
  mkdir -p "$root/usr" "$root/etc/bazaar" "$root/dev" "$root/proc" "$root/tmp" "$root/var/lib/bazaar"
  mount --rbind /usr "$root/usr"
  mount --bind "$binaries" "$root/usr/local/bin"
  for folder in bin sbin lib lib64; do ln -s "usr/$folder" "$root/$folder"; done
  echo 'root:x:0:0::/:/bin/sh
bazaar:x:10001:10001::/var/lib/bazaar:/usr/sbin/nologin' >"$root/etc/passwd"
  echo 'root:x:0:
bazaar:x:10001:' >"$root/etc/group"
fi
: >>"$root/etc/hosts"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --bind "$hosts" "$root/etc/hosts"
while [ "$1" != -- ]; do
  source=${1%%=*} target=$root${1#*=}
  if [ -d "$source" ]; then mkdir -p "$target"; else mkdir -p "${target%/*}"; [ -e "$target" ] || : >"$target"; fi
  mount --bind "$source" "$target"
  shift
done
shift
mount -o remount,bind,ro "$root"
exec chroot "$root" "$@"
"#;

/// What every container of a project shares.
#[derive(Debug)]
pub(crate) struct Engine {
    image: Image,
    folder: PathBuf,
}

/// A running container.
#[derive(Debug)]
pub(crate) struct Container {
    /// The program's parent.
    process: Process,
    /// The program as this machine sees it.
    pid: u32,
    as_inside: Vec<String>,
}

impl Engine {
    /// Keeps hosts file, logs and the containers' roots in `folder`; `hosts` are names with their addresses.
    ///
    /// # Errors
    /// If the `Dockerfile` cannot be read, or the folder not written.
    pub(crate) fn new(folder: &Path, hosts: &BTreeMap<String, String>) -> Result<Self> {
        let lines = hosts.iter().map(|(name, address)| format!("{address} {name}\n"));
        let text = format!("127.0.0.1 localhost\n{}", lines.collect::<String>());
        fs::write(folder.join("hosts"), text)?;
        // Others than root look names up, too.
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
        Ok(Self { image: Image::load()?, folder: folder.to_owned() })
    }

    /// What a container of this service wrote so far.
    pub(crate) fn output(&self, name: &str) -> String {
        fs::read_to_string(self.log(name)).unwrap_or_default()
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }

    /// Starts a container on the host to which `place` leads.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(crate) async fn start(&self, name: &str, service: &Service, place: &[String]) -> Result<Container> {
        let root = self.folder.join(format!("{name}.root"));
        fs::create_dir_all(&root)?;
        let binaries = binary("").to_string_lossy().into_owned();
        let own_root = std::env::var("BAZAAR_IMAGE_ROOT").unwrap_or_default();
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let mut arguments: Vec<String> =
            ["--mount", "--pid", "--fork", "sh", "-c", ENTER, "sh"].map(str::to_owned).into();
        arguments.extend([text(root), own_root, binaries, text(self.folder.join("hosts"))]);
        arguments.extend(service.volumes.iter().map(|volume| mounted(volume)).collect::<Result<Vec<_>>>()?);
        arguments.push("--".into());
        let user = service.user.clone().map_or_else(|| self.image.user.clone(), |user| user.replace("root", "0:0"));
        let as_inside = self.as_inside(service, &user)?;
        arguments.extend(as_inside.iter().chain(&service.command).cloned());
        let place: Vec<&str> = place.iter().map(String::as_str).collect();
        let process = Process::start_under(&place, "/usr/bin/unshare", arguments, &self.log(name))?;
        let pid = child_of(&process).await?;
        Ok(Container { process, pid, as_inside })
    }

    /// The program that gives up what the container has not, and sets its environment.
    fn as_inside(&self, service: &Service, user: &str) -> Result<Vec<String>> {
        let (uid, gid) = user.split_once(':').context("a user is UID:GID")?;
        let added: String = service.cap_add.iter().map(|added| format!(",+{}", added.to_lowercase())).collect();
        let mut words = vec!["setpriv".to_owned(), format!("--reuid={uid}"), format!("--regid={gid}")];
        words.extend(["--clear-groups", "--no-new-privs", "--inh-caps=-all"].map(str::to_owned));
        words.push(format!("--bounding-set=-all{added}"));
        words.extend(["env", "-i", "-C", &self.image.folder].map(str::to_owned));
        words.push("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned());
        let environment = self.image.environment.iter().chain(&service.environment);
        words.extend(environment.map(|(name, value)| format!("{name}={value}")));
        Ok(words)
    }

    /// Runs a program in a running container to its end; returns whether it succeeded, and what it said.
    ///
    /// # Errors
    /// If it cannot be run.
    pub(crate) async fn exec<A: AsRef<str>>(&self, container: &Container, program: &[A]) -> Result<(bool, String)> {
        let target = format!("--target={}", container.pid);
        let enter = [&target, "--mount", "--net", "--root", "--wd"];
        let words = container.as_inside.iter().map(String::as_str).chain(program.iter().map(AsRef::as_ref));
        let output = tokio::process::Command::new("nsenter").args(enter).args(words).output().await?;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
    }
}

impl Container {
    /// Sends a signal to its program, which is process 1 there.
    ///
    /// # Errors
    /// If it is gone.
    pub(crate) fn signal(&self, signal: &str) -> Result<()> {
        let status = std::process::Command::new("kill").arg(format!("-{signal}")).arg(self.pid.to_string()).status()?;
        ensure!(status.success(), "SIG{signal} could not be sent");
        Ok(())
    }

    /// Waits for its end and returns the exit code of its program; none if a signal ended it.
    ///
    /// # Errors
    /// If it does not end.
    pub(crate) async fn end(&mut self) -> Result<Option<i32>> {
        Ok(self.process.end(WAIT_MAX).await?.code())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // Its parent's death would not end it. Its number is its own as long as the parent has not seen its end.
        if let Ok(None) = self.process.ended() {
            let _ = self.signal("KILL");
        }
    }
}

/// `SOURCE=TARGET` of a volume; what is not there becomes a folder, as an engine does it.
fn mounted(volume: &str) -> Result<String> {
    let mut parts = volume.split(':');
    let (source, target) = (parts.next().context("a source")?, parts.next().context("a target")?);
    let source = project().join(source);
    if !source.exists() {
        fs::create_dir_all(&source)?;
    }
    Ok(format!("{}={target}", source.canonicalize()?.display()))
}

/// The one child of `unshare`.
async fn child_of(parent: &Process) -> Result<u32> {
    let file = format!("/proc/{0}/task/{0}/children", parent.id());
    wait_until("the container's program has started", || async {
        fs::read_to_string(&file).ok()?.split_whitespace().next()?.parse().ok()
    })
    .await
}
