//! The schema, and facts as the policy language sees them.
//!
//! Invariant: made once; a judgement parses nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::OnceLock;

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression as Value, Schema,
};

use super::facts::{Act, Facts, Kind};
use super::names::Named;
use super::step::Step;
use crate::model::{EffectKind, Environment, Level, Scope, Undo};

/// The schema that every policy is compared with.
pub const SCHEMA: &str = include_str!("../../data/policy/schema.cedarschema");

/// The environment where nobody declared one.
const UNDECLARED: &str = "undeclared";
/// An operation is judged before it has a name.
const OPERATION: &str = "this";

/// Names of the schema, parsed.
#[derive(Debug)]
pub struct Vocabulary {
    pub schema: Schema,
    steps: BTreeMap<Step, EntityUid>,
    levels: BTreeMap<Level, EntityUid>,
    environments: BTreeMap<Environment, EntityUid>,
    undeclared: EntityUid,
    kinds: BTreeMap<Kind, EntityUid>,
    effects: BTreeMap<EffectKind, EntityUid>,
    scopes: BTreeMap<Scope, EntityUid>,
    undos: BTreeMap<Undo, EntityUid>,
    acts: BTreeMap<Act, EntityUid>,
    agent: EntityTypeName,
    project: EntityTypeName,
    operation: EntityUid,
}

/// A question to the policies.
#[derive(Debug)]
pub struct Sight {
    pub principal: EntityUid,
    pub resource: EntityUid,
    pub entities: Entities,
    pub context: Context,
}

impl Vocabulary {
    /// `None` only where the shipped schema cannot be read; nothing is permitted then.
    pub fn get() -> Option<&'static Self> {
        static VOCABULARY: OnceLock<Option<Vocabulary>> = OnceLock::new();
        VOCABULARY.get_or_init(Self::parse).as_ref()
    }

    fn parse() -> Option<Self> {
        let (schema, _) = Schema::from_cedarschema_str(SCHEMA).ok()?;
        let all = |kind: EffectKind| Scope::ALL.iter().map(move |scope| Act { kind, scope: *scope });
        let acts = EffectKind::ALL.iter().flat_map(|kind| all(*kind));
        let act = type_name("Act")?;
        Some(Self {
            schema,
            steps: words("Action")?,
            levels: words("Level")?,
            environments: words("Environment")?,
            undeclared: uid(&type_name("Environment")?, UNDECLARED),
            kinds: words("Kind")?,
            effects: words("Effect")?,
            scopes: words("Scope")?,
            undos: words("Undo")?,
            acts: acts.map(|value| (value, uid(&act, &value.to_string()))).collect(),
            agent: type_name("Agent")?,
            project: type_name("Project")?,
            operation: uid(&type_name("Operation")?, OPERATION),
        })
    }

    /// The action of a step.
    pub fn step(&self, step: Step) -> Option<EntityUid> {
        self.steps.get(&step).cloned()
    }

    /// The project of this name.
    pub fn project(&self, name: &str) -> EntityUid {
        uid(&self.project, name)
    }

    /// A level as a value.
    pub fn level(&self, level: Level) -> Option<Value> {
        value(&self.levels, &level)
    }

    /// The question about these facts; `None` where a value has no name.
    pub fn sight(&self, facts: &Facts) -> Option<Sight> {
        let environment = match &facts.environment {
            Some(environment) => value(&self.environments, environment)?,
            None => Value::new_entity_uid(self.undeclared.clone()),
        };
        let pairs = [
            ("level", self.level(facts.level)?),
            ("complete", Value::new_bool(facts.complete)),
            ("environment", environment),
            ("agent_type", Value::new_string(facts.agent_type.clone())),
            ("kind", value(&self.kinds, &facts.kind)?),
            ("effects", set(&self.effects, facts.effects().iter())?),
            ("scopes", set(&self.scopes, facts.scopes().iter())?),
            ("acts", set(&self.acts, facts.acts.iter())?),
            ("undo", value(&self.undos, &facts.undo)?),
            ("rules", strings(&facts.rules)),
            ("gaps", strings(&facts.gaps)),
            ("hosts", strings(&facts.hosts)),
            ("targets", Value::new_long(i64::from(facts.targets))),
        ];
        let context = Context::from_pairs(pairs.map(|(name, value)| (name.to_owned(), value))).ok()?;
        let within = HashSet::from([self.project(&facts.project)]);
        let operation = Entity::new_no_attrs(self.operation.clone(), within);
        Some(Sight {
            principal: uid(&self.agent, &facts.agent),
            resource: self.operation.clone(),
            entities: Entities::from_entities([operation], None).ok()?,
            context,
        })
    }
}

/// An entity with attributes.
pub fn entity(uid: EntityUid, attributes: Vec<(&str, Value)>, parents: HashSet<EntityUid>) -> Option<Entity> {
    let attributes: HashMap<String, Value> =
        attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Entity::new(uid, attributes, parents).ok()
}

/// The type of this name.
pub fn type_name(name: &str) -> Option<EntityTypeName> {
    name.parse().ok()
}

/// The entity of this type and name.
pub fn uid(of: &EntityTypeName, name: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(of.clone(), EntityId::new(name))
}

/// A set of strings.
pub fn strings<'a>(names: impl IntoIterator<Item = &'a String>) -> Value {
    Value::new_set(names.into_iter().map(|name| Value::new_string(name.clone())))
}

fn words<T: Named>(of: &str) -> Option<BTreeMap<T, EntityUid>> {
    let of = type_name(of)?;
    Some(T::ALL.iter().map(|value| (*value, uid(&of, value.name()))).collect())
}

fn value<T: Ord>(words: &BTreeMap<T, EntityUid>, key: &T) -> Option<Value> {
    Some(Value::new_entity_uid(words.get(key)?.clone()))
}

fn set<'a, T: Ord + 'a>(words: &BTreeMap<T, EntityUid>, keys: impl Iterator<Item = &'a T>) -> Option<Value> {
    let values: Option<Vec<Value>> = keys.map(|key| value(words, key)).collect();
    Some(Value::new_set(values?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Context as Place, Found};
    use crate::policy::facts::Asker;

    #[test]
    fn the_schema_names_what_the_model_names() {
        let vocabulary = Vocabulary::get().expect("the shipped schema");
        let asker = Asker { agent: "a", agent_type: "t", project: "p", kind: "command" };
        let mut facts = Facts::of(&Found::default(), &Place::default(), &asker);
        for kind in EffectKind::ALL {
            for scope in Scope::ALL {
                facts.acts.insert(Act { kind: *kind, scope: *scope });
            }
        }
        let environments = Environment::ALL.iter().copied().map(Some).chain([None]);
        for environment in environments {
            for (level, undo) in Level::ALL.iter().zip(Undo::ALL).chain([(&Level::Low, &Undo::Never)]) {
                for kind in Kind::ALL {
                    (facts.environment, facts.level, facts.undo, facts.kind) =
                        (environment, *level, *undo, *kind);
                    let sight = vocabulary.sight(&facts).expect("a question");
                    let action = vocabulary.step(Step::Request).expect("an action");
                    let (principal, resource) = (sight.principal, sight.resource);
                    let schema = Some(&vocabulary.schema);
                    cedar_policy::Request::new(principal, action, resource, sight.context, schema)
                        .expect("facts that fit the schema");
                }
            }
        }
    }
}
