//! How a channel and its network behave for a while, and what that makes of one call.
//!
//! A weather lasts seconds to minutes and gives way to another; under each of them every call draws its own fate. Once
//! the day is over the weather is fair, so that what is owed then has no excuse.

use std::time::Duration;

use crate::dice::Dice;

/// The weather of one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Weather {
    /// Quick answers and few accidents.
    Fair,
    /// Right answers after one to five seconds.
    Slow,
    /// Calls are swallowed; some are carried out all the same, now or later.
    Silent,
    /// Connections are refused.
    Down,
    /// A third of the calls go wrong, each in its own way.
    Flaky,
    /// Over its quota: calls are refused with "too many".
    Quota,
}

impl Weather {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Weather::Fair => "fair",
            Weather::Slow => "slow",
            Weather::Silent => "silent",
            Weather::Down => "down",
            Weather::Flaky => "flaky",
            Weather::Quota => "quota",
        }
    }

    /// True while hardly a call gets through.
    pub(crate) const fn is_out_of_reach(self) -> bool {
        matches!(self, Weather::Silent | Weather::Down | Weather::Quota)
    }

    /// The next weather and how long it lasts.
    pub(crate) fn draw(dice: &mut Dice) -> (Weather, Duration) {
        use Weather as W;
        let weather = dice.pick(
            &[
                (6.0, W::Fair),
                (1.0, W::Slow),
                (1.0, W::Silent),
                (0.7, W::Down),
                (1.5, W::Flaky),
                (0.4, W::Quota),
            ],
            W::Fair,
        );
        let lasts = match weather {
            W::Fair => dice.ms(20_000, 240_000),
            W::Slow | W::Silent | W::Down | W::Flaky | W::Quota => dice.ms(3_000, 60_000),
        };
        (weather, lasts)
    }

    /// What becomes of one call.
    pub(crate) fn fate(self, dice: &mut Dice) -> Fate {
        let quick = dice.ms(15, 220);
        match self {
            Weather::Fair if dice.happens(0.985) => Fate::Answered(quick),
            Weather::Slow if dice.happens(0.9) => Fate::Answered(dice.ms(900, 5_500)),
            Weather::Down => Fate::NeverSent(dice.ms(1, 40)),
            Weather::Quota if dice.happens(0.8) => Fate::Quota(quick),
            Weather::Flaky if dice.happens(0.65) => Fate::Answered(quick),
            Weather::Fair | Weather::Slow | Weather::Silent | Weather::Flaky | Weather::Quota => {
                let stray = Fate::Stray(dice.ms(500, 40_000));
                dice.pick(
                    &[
                        (2.0, Fate::Swallowed),
                        (3.0, Fate::AnswerLost(quick)),
                        (1.0, stray),
                        (1.0, Fate::NeverSent(quick)),
                        (0.5, Fate::Quota(quick)),
                    ],
                    Fate::Swallowed,
                )
            }
        }
    }
}

/// What becomes of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Carried out, and answered after this long.
    Answered(Duration),
    /// Never carried out, never answered.
    Swallowed,
    /// Carried out; the answer is lost, and the caller sees that after this long or not at all.
    AnswerLost(Duration),
    /// Not answered, and carried out this much later: it overtakes nothing and is overtaken by everything.
    Stray(Duration),
    /// Refused before it left.
    NeverSent(Duration),
    /// Answered with "too many calls"; nothing was done.
    Quota(Duration),
}
