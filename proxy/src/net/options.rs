//! Options of a connection's socket, compiled from configuration.

use std::{io, time::Duration};

use outrigger_config::model;
use socket2::{SockRef, TcpKeepalive};

/// How a TCP connection finds out that its peer is gone. The default leaves all to the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SocketOptions {
    keepalive: Option<Keepalive>,
    /// `TCP_USER_TIMEOUT`: how long sent data may stay unacknowledged.
    user_timeout: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Keepalive {
    time: Duration,
    interval: Duration,
    probes: u32,
}

impl From<&model::TcpOptions> for SocketOptions {
    fn from(options: &model::TcpOptions) -> Self {
        // The kernel counts in seconds from 1 to 32,767 (`MAX_TCP_KEEPIDLE`) and 127 probes.
        let seconds =
            |time: Duration| time.clamp(Duration::from_secs(1), Duration::from_secs(32_767));
        Self {
            keepalive: (!options.keepalive_time.is_zero()).then(|| Keepalive {
                time: seconds(options.keepalive_time),
                interval: seconds(options.keepalive_interval),
                probes: options.keepalive_probes.clamp(1, 127),
            }),
            user_timeout: (!options.user_timeout.is_zero()).then(|| {
                // Milliseconds in a signed 32-bit number; below one they would mean the default.
                let most = Duration::from_millis(i32::MAX as u64);
                options.user_timeout.clamp(Duration::from_millis(1), most)
            }),
        }
    }
}

impl SocketOptions {
    /// Sets them on a TCP socket, and with them `TCP_NODELAY`. On a listening socket they hold
    /// for everything it accepts, at no cost for each connection.
    pub(crate) fn apply(&self, socket: &SockRef<'_>) -> io::Result<()> {
        socket.set_tcp_nodelay(true)?;
        if let Some(keepalive) = self.keepalive {
            let parameters = TcpKeepalive::new()
                .with_time(keepalive.time)
                .with_interval(keepalive.interval)
                .with_retries(keepalive.probes);
            socket.set_tcp_keepalive(&parameters)?;
        }
        if self.user_timeout.is_some() {
            socket.set_tcp_user_timeout(self.user_timeout)?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// Asserts that a socket has these options.
    pub(crate) fn assert_applied(options: &SocketOptions, socket: &SockRef<'_>) {
        assert!(socket.tcp_nodelay().unwrap());
        assert_eq!(socket.keepalive().unwrap(), options.keepalive.is_some());
        if let Some(keepalive) = options.keepalive {
            assert_eq!(socket.tcp_keepalive_time().unwrap(), keepalive.time);
            assert_eq!(socket.tcp_keepalive_interval().unwrap(), keepalive.interval);
            assert_eq!(socket.tcp_keepalive_retries().unwrap(), keepalive.probes);
        }
        assert_eq!(socket.tcp_user_timeout().unwrap(), options.user_timeout);
    }

    pub(crate) fn unusual() -> SocketOptions {
        SocketOptions::from(&model::TcpOptions {
            keepalive_time: Duration::from_secs(77),
            keepalive_interval: Duration::from_secs(11),
            keepalive_probes: 5,
            user_timeout: Duration::from_millis(12_345),
        })
    }

    #[test]
    fn every_setting_is_one_the_kernel_takes() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let extreme = [Duration::ZERO, Duration::from_nanos(1), Duration::MAX];
        for time in extreme {
            for probes in [0, 1, u32::MAX] {
                let options = SocketOptions::from(&model::TcpOptions {
                    keepalive_time: time,
                    keepalive_interval: time,
                    keepalive_probes: probes,
                    user_timeout: time,
                });
                let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                options.apply(&SockRef::from(&socket)).unwrap();
                assert_applied(&options, &SockRef::from(&socket));
            }
        }
        assert_eq!(
            SocketOptions::from(&model::TcpOptions {
                keepalive_time: Duration::ZERO,
                keepalive_interval: Duration::ZERO,
                keepalive_probes: 1,
                user_timeout: Duration::ZERO,
            }),
            SocketOptions::default()
        );
    }
}
