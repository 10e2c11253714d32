//! From a state to a screen. Pure.

use quarterdeck_client::api::approvals::v1::{Approval, RiskLevel};
use quarterdeck_risk::preview::visible;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::state::{Mode, State, Target, Typing};
use crate::approval::{self, Tone, hex, left, level_tone, summary};
use crate::output::lower;

/// Draws all of it. `colour`: whether it may.
pub fn draw(state: &State, frame: &mut Frame<'_>, colour: bool) {
    let paint = Paint { colour };
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(2), Constraint::Min(1), Constraint::Length(2)])
            .areas(frame.area());
    frame.render_widget(Paragraph::new(paint.head(state)), head);
    let lines = match &state.mode {
        Mode::Look(id) => paint.look(state, id, body),
        Mode::Type { what: Typing::Reveal(id), .. } => paint.look(state, id, body),
        Mode::Confirm(targets) => paint.confirm(state, targets, body),
        Mode::Type { what: Typing::Deny(targets), .. } => paint.targets(state, targets, body),
        Mode::Help => help(),
        Mode::List | Mode::Filter => paint.list(state, body),
    };
    frame.render_widget(Paragraph::new(lines), body);
    frame.render_widget(Paragraph::new(paint.foot(state)), foot);
}

struct Paint {
    colour: bool,
}

impl Paint {
    fn style(&self, tone: Tone) -> Style {
        let plain = Style::default();
        match (tone, self.colour) {
            (Tone::Plain | Tone::Label, false) | (Tone::Plain, true) => plain,
            (Tone::Risky | Tone::High | Tone::Invisible, false) => plain.add_modifier(Modifier::REVERSED),
            (Tone::Heading, _) => plain.add_modifier(Modifier::BOLD),
            (_, false) => plain.add_modifier(Modifier::UNDERLINED),
            (Tone::Label, true) => plain.add_modifier(Modifier::DIM),
            (Tone::Risky | Tone::High, true) => plain.fg(Color::Red).add_modifier(Modifier::BOLD),
            (Tone::Invisible, true) => plain.fg(Color::Black).bg(Color::Yellow),
            (Tone::Masked, true) => plain.fg(Color::Cyan),
            (Tone::Added, true) => plain.fg(Color::Green),
            (Tone::Removed, true) => plain.fg(Color::Red),
            (Tone::Medium, true) => plain.fg(Color::Yellow),
        }
    }

    fn line<'a>(&self, line: approval::Line) -> Line<'a> {
        Line::from(
            line.0.into_iter().map(|(text, tone)| Span::styled(text, self.style(tone))).collect::<Vec<_>>(),
        )
    }

    fn head<'a>(&self, state: &State) -> Vec<Line<'a>> {
        let [low, medium, high] = state.counts();
        let mut line = approval::Line::of("inbox", Tone::Heading)
            .and(&format!("  high {high}"), if high > 0 { Tone::High } else { Tone::Label })
            .and(&format!("  medium {medium}"), if medium > 0 { Tone::Medium } else { Tone::Label })
            .and(&format!("  low {low}"), Tone::Label);
        if state.filter != RiskLevel::Unspecified {
            let level = lower(state.filter.as_str_name(), "RISK_LEVEL_");
            line = line.and(&format!("  shown: {level} and above"), Tone::Plain);
        }
        if !state.picked.is_empty() {
            line = line.and(&format!("  picked {}", state.picked.len()), Tone::Heading);
        }
        if state.busy > 0 {
            line = line.and("  ...", Tone::Label);
        }
        let columns = "    LEVEL   LEFT  YES   AGENT         ACTION";
        let list = matches!(state.mode, Mode::List | Mode::Filter);
        let second = if list { approval::Line::of(columns, Tone::Label) } else { approval::Line::default() };
        vec![self.line(line), self.line(second)]
    }

    fn list<'a>(&self, state: &State, area: Rect) -> Vec<Line<'a>> {
        let listed = state.listed();
        if listed.is_empty() {
            return vec![Line::from("nothing waits for a decision")];
        }
        let rows = usize::from(area.height);
        let at = listed.iter().position(|item| Some(&item.id) == state.cursor.as_ref()).unwrap_or(0);
        let above = (at + 1).saturating_sub(rows);
        listed.into_iter().skip(above).take(rows).map(|item| self.row(state, item)).collect()
    }

    fn row<'a>(&self, state: &State, item: &Approval) -> Line<'a> {
        let here = state.cursor.as_ref() == Some(&item.id);
        let picked = if state.picked.contains(&item.id) { "*" } else { " " };
        let read = if state.read(&item.id).is_some() { "r" } else { " " };
        let level = approval::level(item);
        let word = lower(level.as_str_name(), "RISK_LEVEL_");
        let yes = item.decisions.iter().filter(|decision| decision.vote == 1).count();
        let asked = item.terms.as_ref().map_or(0, |terms| terms.approvals);
        let agent: String = visible(&item.agent).chars().take(12).collect();
        let line =
            approval::Line::of(&format!("{}{picked}{read} ", if here { ">" } else { " " }), Tone::Plain)
                .and(&format!("{word:6}  "), level_tone(level))
                .and(&format!("{:>4}  {:5} ", left(item, state.now), format!("{yes}/{asked}")), Tone::Plain)
                .and(&format!("{agent:12}  "), Tone::Plain)
                .and(&summary(item.action.as_ref()), Tone::Plain);
        let line = self.line(line);
        if here { line.style(Style::default().add_modifier(Modifier::BOLD)) } else { line }
    }

    fn look<'a>(&self, state: &State, id: &str, area: Rect) -> Vec<Line<'a>> {
        let Some(look) = state.looks.get(id) else { return vec![Line::from("on its way ...")] };
        let lines = state.lines(id).into_iter().skip(look.above).take(usize::from(area.height));
        lines.map(|line| self.line(line)).collect()
    }

    fn confirm<'a>(&self, state: &State, targets: &[Target], area: Rect) -> Vec<Line<'a>> {
        let what =
            if targets.len() == 1 { "this one".to_owned() } else { format!("these {}", targets.len()) };
        let mut lines = vec![Line::from(format!("Say yes to exactly {what}?"))];
        lines.extend(self.targets(state, targets, Rect { height: area.height.saturating_sub(1), ..area }));
        lines
    }

    /// What is decided on; where there is no room for all, that is said.
    fn targets<'a>(&self, state: &State, targets: &[Target], area: Rect) -> Vec<Line<'a>> {
        let rows = usize::from(area.height);
        let shown = if targets.len() > rows { rows.saturating_sub(1) } else { rows };
        let mut lines: Vec<Line<'a>> =
            targets.iter().take(shown).map(|target| self.target(state, target)).collect();
        if targets.len() > shown {
            let text = format!("and {} more, each of which was read", targets.len() - shown);
            lines.push(self.line(approval::Line::of(&text, Tone::Risky)));
        }
        lines
    }

    fn target<'a>(&self, state: &State, target: &Target) -> Line<'a> {
        let item = state.items.get(&target.id);
        let level = item.map_or(RiskLevel::Unspecified, approval::level);
        let digest: String = hex(&target.digest).chars().take(12).collect();
        let word = lower(level.as_str_name(), "RISK_LEVEL_");
        let line = approval::Line::of(&format!("  {digest}  "), Tone::Label)
            .and(&format!("{word:6}  "), level_tone(level))
            .and(&summary(item.and_then(|item| item.action.as_ref())), Tone::Plain);
        self.line(line)
    }

    fn foot<'a>(&self, state: &State) -> Vec<Line<'a>> {
        let keys = match &state.mode {
            Mode::List => "enter look  a yes  d no  space pick  A yes to picked  / level  ? help  q quit",
            Mode::Look(id) => {
                return vec![self.bar(state, id), self.line(approval::Line::of(&state.status, Tone::Plain))];
            }
            Mode::Confirm(_) => "y yes  any other key: no decision",
            Mode::Filter => "l low and above  m medium and above  h high  any other key: all",
            Mode::Help => "any key goes back",
            Mode::Type { what, text } => {
                let question = match what {
                    Typing::Deny(targets) if targets.len() == 1 => "say no, why? ",
                    Typing::Deny(_) => "say no to all of these, why? ",
                    Typing::Reveal(_) => "show without masks, why? ",
                };
                let room = usize::from(state.size.0).saturating_sub(question.len() + 2);
                let skip = text.chars().count().saturating_sub(room);
                let tail: String = text.chars().skip(skip).collect();
                let typed = approval::Line::of(question, Tone::Heading).and(&format!("{tail}_"), Tone::Plain);
                let status = approval::Line::of("enter to send, escape to leave", Tone::Label);
                return vec![self.line(typed), self.line(status)];
            }
        };
        vec![
            self.line(approval::Line::of(keys, Tone::Label)),
            self.line(approval::Line::of(&state.status, Tone::Plain)),
        ]
    }

    /// How far it was read.
    fn bar<'a>(&self, state: &State, id: &str) -> Line<'a> {
        let Some(look) = state.looks.get(id) else { return Line::default() };
        let below = state.lines(id).len().saturating_sub(look.above + state.rows());
        let more = match below {
            0 => "a yes  d no  e edit  r reveal  tab back".to_owned(),
            below => format!("{below} MORE LINES BELOW (space)  d no  e edit  r reveal  tab back"),
        };
        self.line(approval::Line::of(&more, if below > 0 { Tone::Medium } else { Tone::Label }))
    }
}

fn help<'a>() -> Vec<Line<'a>> {
    [
        "j k, arrows       up and down",
        "enter, tab        look at one, and back",
        "a                 approve what was read to its end (r before a row says that it was)",
        "d                 deny, with a comment",
        "e                 edit in $EDITOR; others then decide on the new action",
        "r                 show without masks, for a reason that goes on record",
        "space             pick; A approves exactly those picked",
        "/                 filter by level",
        "q                 quit",
    ]
    .map(Line::from)
    .to_vec()
}
