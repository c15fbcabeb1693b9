//! A script of Redis, which the server keeps under its hash until it is started again.

use super::connection::Connection;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisResult, ServerErrorKind, ToRedisArgs};
use std::sync::LazyLock;

/// A script. Each has a first line with flags: only such a script is refused as a whole, before it begins, by a server that
/// is full or may not write.
pub(super) struct Script(LazyLock<redis::Script>);

macro_rules! script {
    ($first:literal, $($part:literal),+) => {
        Script(LazyLock::new(|| redis::Script::new(concat!($first, "\n", $(include_str!($part)),+))))
    };
}

pub(super) static LOAD: Script = script!("#!lua flags=no-writes", "types.lua", "load.lua");
pub(super) static SCAN: Script = script!("#!lua flags=no-writes", "types.lua", "scan.lua");
pub(super) static PROBE: Script = script!("#!lua flags=no-writes", "rights.lua", "probe.lua");
pub(super) static FLUSH: Script = script!("#!lua", "types.lua", "rights.lua", "flush.lua");
pub(super) static FOLDED: Script = script!("#!lua flags=no-writes", "folded.lua");
// These are small, or make room.
pub(super) static CLAIM: Script = script!("#!lua flags=allow-oom", "claim.lua");
pub(super) static RESIGN: Script = script!("#!lua flags=allow-oom", "resign.lua");
pub(super) static RESET: Script = script!("#!lua flags=allow-oom", "types.lua", "rights.lua", "reset.lua");
pub(super) static RETIRE: Script = script!("#!lua flags=allow-oom", "types.lua", "retire.lua");
pub(super) static ABANDON: Script = script!("#!lua flags=allow-oom", "types.lua", "abandon.lua");

/// A script with its keys and arguments.
pub(super) struct Call<'s> {
    script: &'s redis::Script,
    command: Cmd,
}

impl Script {
    /// With these keys, for so many arguments of so many bytes.
    pub(super) fn on(&'static self, keys: &[String], arguments: usize, bytes: usize) -> Call<'static> {
        const WORDS: usize = 3;
        const WORDS_BYTES: usize = 64;
        let keys_bytes = keys.iter().map(String::len).sum::<usize>();
        let mut command =
            Cmd::with_capacity(WORDS + keys.len() + arguments, WORDS_BYTES + keys_bytes + bytes);
        command.arg("EVALSHA").arg(self.0.get_hash()).arg(keys.len()).arg(keys);
        Call { script: &self.0, command }
    }
}

impl Call<'_> {
    pub(super) fn arg(&mut self, argument: impl ToRedisArgs) -> &mut Self {
        self.command.arg(argument);
        self
    }

    /// Runs it; where the server does not know it, once more after it has been told.
    pub(super) async fn run<T: FromRedisValue>(&self, connection: &Connection) -> anyhow::Result<T> {
        let mut link = connection.clone();
        let mut answer: RedisResult<T> = self.command.query_async(&mut link).await;
        if answer.as_ref().is_err_and(|error| error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)) {
            let told = self.script.load_async(&mut link).await;
            answer = match told {
                Ok(_) => self.command.query_async(&mut link).await,
                Err(error) => Err(error),
            };
        }
        answer.map_err(|error| connection.failure(&error))
    }
}
