//! People who decide on what agents want: they approve, deny, edit, take back, change
//! the policy's environment, and try what they may not, for as long as the world goes on.
//!
//! Nothing of it is in the history: what holds is read from the approvals' own streams.

use futures::future::BoxFuture;
use quarterdeck_core::Span;
use quarterdeck_core::approval::{Approval, Phase, Vote};
use quarterdeck_core::key::Role;
use quarterdeck_engine::approvals::{Changed, Target};
use quarterdeck_engine::{Engine, Error, Principal};
use quarterdeck_risk::policy::DEFAULT;
use quarterdeck_store::rows::ApprovalFilter;

use crate::dice::Dice;
use crate::workload;
use crate::world::{self, World};

/// A rule that leaves little time.
const HASTY: &str = r#"
@id("hasty") @pending("3s") @grant("1s") @escalate("1s:admin") @reason("time runs fast here")
permit(principal, action == Action::"request", resource);
"#;

/// Those who may, and two who may not: who owns every task, and a program.
const NAMES: [&str; 5] = ["ann", "bob", "cid", "key:client", "robot"];

/// One of them, with one of its keys.
pub struct Judge {
    pub world: World,
    pub index: usize,
    pub dice: Dice,
}

impl Judge {
    pub fn send_off(self) {
        let (executor, people) = (self.world.executor.clone(), self.world.people);
        executor.spawn(
            people,
            Box::pin(async move {
                if self.index == 0 && self.dice.chance(0.6) {
                    self.hurry().await;
                }
                loop {
                    self.world.executor.sleep(self.dice.millis(20, 800)).await;
                    let replica = self.dice.below(self.world.replicas());
                    let (caller, dice) = (self.caller(), self.dice.fork());
                    // Whatever came of it: nobody here asks twice for the same thing.
                    let _ = self
                        .world
                        .call(replica, &self.dice, move |engine, _| look(engine, caller, dice))
                        .await;
                }
            }),
        );
    }

    /// Makes the project one where requests and grants are soon over, and whose policy
    /// does not say who must not decide: that holds whatever policy says.
    async fn hurry(&self) {
        for _ in 0..20 {
            let replica = self.dice.below(self.world.replicas());
            let caller = self.caller();
            let update = |engine: Engine, _| -> BoxFuture<'static, Result<(), Error>> {
                Box::pin(async move {
                    let source = Some(format!("{}{HASTY}", lax()));
                    let changed = Changed { source, ..Changed::default() };
                    engine.update_policy(&caller, "", changed, "").await.map(drop)
                })
            };
            if let Some(Ok(())) = self.world.call(replica, &self.dice, update).await {
                return;
            }
            self.world.executor.sleep(self.dice.millis(50, 300)).await;
        }
    }

    fn caller(&self) -> Principal {
        let name = NAMES[self.index % NAMES.len()];
        let mut roles = std::collections::BTreeSet::from([Role::Approver, Role::Admin]);
        if name == "robot" {
            roles.insert(Role::Agent);
        }
        let subject = format!("{name}-{}", self.dice.below(2));
        Principal { subject, person: name.to_owned(), roles, ..world::client() }
    }
}

/// The shipped policy without its word on separation of duty.
fn lax() -> String {
    let cut = DEFAULT.split_once("@id(\"not-own-request\")");
    let (before, after) = cut.expect("the shipped policy forbids to decide on one's own");
    let examples = after.find("//!").map_or("", |place| &after[place..]);
    format!("{before}{examples}")
}

fn look(engine: Engine, caller: Principal, dice: Dice) -> BoxFuture<'static, Result<(), Error>> {
    Box::pin(async move {
        if dice.chance(0.02) {
            let environment = ["", "staging", "production"][dice.below(3)].to_owned();
            let changed = Changed { environment: Some(environment), ..Changed::default() };
            return engine.update_policy(&caller, "", changed, "").await.map(drop);
        }
        let phases = vec![if dice.chance(0.85) { Phase::Pending } else { Phase::Granted }];
        let filter = ApprovalFilter { phases, ..ApprovalFilter::default() };
        let page = engine.list_approvals(&caller, "", filter, 20, "").await?;
        let Some(approval) = page.items.get(dice.below(page.items.len().max(1))) else { return Ok(()) };
        decide(&engine, &caller, approval, &dice).await
    })
}

async fn decide(engine: &Engine, caller: &Principal, approval: &Approval, dice: &Dice) -> Result<(), Error> {
    let target = Target { id: approval.id(), digest: approval.asked.digest };
    let id = approval.id().to_string();
    let vote = |vote| async move { engine.decide_approvals(caller, &[target], vote, "", "").await.map(drop) };
    match dice.below(100) {
        0..66 => vote(Vote::Approve).await,
        66..76 => vote(Vote::Deny).await,
        76..82 => {
            let action = workload::action(dice.chance(0.5), dice.seed());
            engine.edit_approval(caller, target, &action, "", "").await.map(drop)
        }
        82..87 => engine.withdraw_approval(caller, &id, "", "").await.map(drop),
        87..94 => engine.revoke_approval(caller, &id, "", "").await.map(drop),
        _ => {
            let (to, lifetime) = (NAMES[dice.below(NAMES.len())], Some(Span::from_secs(5)));
            engine.delegate_approval(caller, &id, to, lifetime, "").await.map(drop)
        }
    }
}
