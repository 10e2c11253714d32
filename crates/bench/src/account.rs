//! The account that PostgreSQL runs as. It refuses root, so under root it is
//! given to `postgres` or, where there is none, to `nobody`.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    uid: u32,
    gid: u32,
}

impl Account {
    /// `None` where this process is not root and simply goes on as itself.
    ///
    /// # Errors
    /// Root on a machine without either account.
    pub fn unprivileged() -> Result<Option<Self>> {
        // The owner of its directory in /proc is the effective user of a process.
        if fs::metadata("/proc/self").context("there is no /proc")?.uid() != 0 {
            return Ok(None);
        }
        let accounts = fs::read_to_string("/etc/passwd").context("/etc/passwd cannot be read")?;
        match ["postgres", "nobody"].iter().find_map(|name| Self::named(&accounts, name)) {
            Some(account) => Ok(Some(account)),
            None => bail!("PostgreSQL does not run as root, and there is no account `postgres` or `nobody`"),
        }
    }

    fn named(accounts: &str, name: &str) -> Option<Self> {
        let line = accounts.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut ids = line.split(':').skip(2).map(str::parse);
        Some(Self { uid: ids.next()?.ok()?, gid: ids.next()?.ok()? })
    }

    /// Lets `command` run as this account, without other groups.
    pub fn runs(self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }

    /// Gives `directory` to this account. False where it cannot get there, because
    /// a directory above is closed to it.
    pub fn owns(self, directory: &Path) -> Result<bool> {
        chown(directory, Some(self.uid), Some(self.gid))?;
        let mut probe = Command::new("test");
        probe.arg("-w").arg(directory).current_dir("/").stdin(Stdio::null());
        self.runs(&mut probe);
        Ok(probe.status().context("cannot run `test`")?.success())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_found_by_their_whole_name() {
        let accounts =
            "root:x:0:0::/root:/bin/sh\npostgresql:x:1:1::/:/bin/sh\npostgres:x:105:109::/:/bin/sh\n";
        assert_eq!(Account::named(accounts, "postgres"), Some(Account { uid: 105, gid: 109 }));
        assert_eq!(Account::named(accounts, "nobody"), None);
    }
}
