//! `entity`.

use retention_core::control::{Cursor, EntityQuery, ExitCode, Operation};

use super::{Call, Context, audit, query};
use crate::args::Entity;
use crate::exit::{Doing, Failure};

pub(super) const COLUMNS: &[&str] =
    &["entity", "kind", "source", "mailbox", "state", "visibility", "first_seen", "last_activity"];

pub(super) fn execute(context: &mut Context, command: Entity) -> Result<ExitCode, Failure> {
    match command {
        Entity::List { kind, mailbox, state, part } => {
            let (after, limit) = (part.after.map(Cursor), part.limit);
            let query = EntityQuery { after, limit, kind, mailbox, state, visibility: None };
            context.list(&Call::to(Operation::EntityList, &[]).asking(&query), COLUMNS).doing("list the entities")?;
        }
        Entity::Show { entity } => {
            let exit = context.show_entity(&Call::to(Operation::EntityShow, &[&entity])).doing("show the entity")?;
            context.next(&match exit {
                ExitCode::Gone => format!("retentionctl entity history {entity}"),
                _ => format!("retentionctl explain {entity}"),
            });
            return Ok(exit);
        }
        Entity::History { entity, part } => {
            let call = Call::to(Operation::EntityHistory, &[&entity]).asking(&query(part));
            context.list(&call, audit::COLUMNS).doing("list the history")?;
        }
    }
    Ok(ExitCode::Done)
}
