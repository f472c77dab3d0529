//! How Dovecot is set up: maildir, ACL with shared folders, quota, mail log, master users, the doveadm API.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::chown;

use super::{ACCOUNTS, Account, MAIL_ID, POOL_SIZE, Server};

/// `admin` acts with the rights of the owner. `auditor` is a master user whose rights are his own.
const MASTERS: &str = "admin:{PLAIN}adminpw\n";
const MASTERS_WITH_ACL: &str = "auditor:{PLAIN}auditpw\n";

/// Whose messages lie together in few files.
pub(super) const MDBOX: (&str, &str) = ("mdbox", "mdboxpw");

pub(super) fn configure(server: &Server) {
    for name in ["conf", "state", "mail"] {
        fs::create_dir(server.path(name)).expect("a directory");
    }
    for name in ["state", "mail"] {
        chown(server.path(name), Some(MAIL_ID), Some(MAIL_ID)).expect("an owner");
    }
    let mut users = String::new();
    for (name, password) in ACCOUNTS {
        let quota = if name == "user3" { "userdb_quota_rule=*:storage=1M" } else { "" };
        let _infallible = writeln!(users, "{name}:{{PLAIN}}{password}::::::{quota}");
    }
    for Account { name, password } in (1..=POOL_SIZE).map(Account::of_pool) {
        let _infallible = writeln!(users, "{name}:{{PLAIN}}{password}::::::");
    }
    let (name, password) = MDBOX;
    let _infallible = writeln!(users, "{name}:{{PLAIN}}{password}::::::userdb_mail=mdbox:~/mdbox");
    fs::write(server.path("conf/users"), users).expect("a file");
    fs::write(server.path("conf/masters"), MASTERS).expect("a file");
    fs::write(server.path("conf/masters-acl"), MASTERS_WITH_ACL).expect("a file");
    let config = CONFIG
        .replace("@DIR@", server.dir.path().to_str().expect("a path that is text"))
        .replace("@ID@", &MAIL_ID.to_string())
        .replace("@IMAP@", &server.imap.number().to_string())
        .replace("@IMAPS@", &server.imaps.number().to_string())
        .replace("@API@", &server.api.number().to_string())
        .replace("@SECURE_API@", &server.secure_api.number().to_string())
        .replace("@KEY@", Server::DOVEADM_KEY);
    fs::write(server.path("conf/dovecot.conf"), config).expect("a file");
}

pub(super) fn script(_server: &Server) -> String {
    // After a power cut its process ids are those of others.
    "rm -f \"$DIR/run/master.pid\"\ndovecot -F -c \"$DIR/conf/dovecot.conf\" </dev/null &".to_owned()
}

/// The order of the passdbs matters: master users first. `auth-penalty` is off, or failed logins would take seconds.
const CONFIG: &str = r"
base_dir = @DIR@/run
state_dir = @DIR@/state
instance_name = @IMAP@
protocols = imap
listen = 127.0.0.1
log_path = @DIR@/log/error
info_log_path = @DIR@/log/info
debug_log_path = @DIR@/log/debug
auth_verbose = yes
auth_failure_delay = 0
first_valid_uid = 1
disable_plaintext_auth = no
ssl = yes
ssl_cert = <@DIR@/tls/cert.pem
ssl_key = <@DIR@/tls/key.pem
ssl_min_protocol = TLSv1.2
ssl_dh =
auth_mechanisms = plain login
auth_master_user_separator = *
mail_max_userip_connections = 200
mail_fsync = optimized

passdb {
  driver = passwd-file
  master = yes
  args = username_format=%n @DIR@/conf/masters
  override_fields = userdb_acl_user=%{login_user}
  result_success = continue
}
passdb {
  driver = passwd-file
  master = yes
  args = username_format=%n @DIR@/conf/masters-acl
  result_success = continue
}
passdb {
  driver = passwd-file
  args = username_format=%n @DIR@/conf/users
}
userdb {
  driver = passwd-file
  args = username_format=%n @DIR@/conf/users
  override_fields = uid=@ID@ gid=@ID@ home=@DIR@/mail/%n
}

mail_location = maildir:~/Maildir
mail_plugins = acl quota zlib notify mail_log
mail_attribute_dict = file:%h/dovecot-attributes
namespace inbox {
  type = private
  separator = /
  prefix =
  inbox = yes
  list = yes
  subscriptions = yes
  mailbox Drafts {
    special_use = \Drafts
    auto = create
  }
  mailbox Sent {
    special_use = \Sent
    auto = create
  }
  mailbox Trash {
    special_use = \Trash
    auto = create
  }
  mailbox Junk {
    special_use = \Junk
    auto = create
  }
  mailbox Archive {
    special_use = \Archive
    auto = create
  }
}
namespace shared {
  type = shared
  separator = /
  prefix = shared/%%u/
  location = maildir:@DIR@/mail/%%n/Maildir:INDEXPVT=~/Maildir/shared/%%u
  subscriptions = no
  list = children
}
protocol imap {
  mail_plugins = $mail_plugins imap_acl imap_quota imap_zlib
  imap_metadata = yes
}
plugin {
  acl = vfile
  acl_shared_dict = file:@DIR@/state/shared-mailboxes.db
  quota = maildir:User quota
  quota_rule = *:storage=4G
  mail_log_events = delete undelete expunge copy mailbox_delete mailbox_rename save
  mail_log_fields = uid box msgid size
}

service imap-login {
  chroot =
  inet_listener imap {
    port = @IMAP@
  }
  inet_listener imaps {
    port = @IMAPS@
    ssl = yes
  }
}
service anvil {
  chroot =
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service stats {
  chroot =
}
service auth {
  unix_listener auth-userdb {
    user = mail
    mode = 0600
  }
}
service dict {
  unix_listener dict {
    user = mail
    mode = 0600
  }
}
service doveadm {
  inet_listener http {
    port = @API@
  }
}
service doveadm-tls {
  executable = doveadm-server
  client_limit = 1
  service_count = 1
  inet_listener http {
    port = @SECURE_API@
    ssl = yes
  }
}
doveadm_api_key = @KEY@
";
