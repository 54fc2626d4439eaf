"""Flights from New York: will one arrive more than 15 minutes late, predicted an hour before its scheduled departure?

Cancelled and diverted flights count as late: dropping them would select on the outcome.
"""

from datetime import timedelta

from millrace import Expect, FeatureTable, Gate, Monitoring, Retraining, Slice, UseCase

TRAFFIC = {"delay_mean": "number", "waiting": "number", "waiting_minutes": "number"}

USE_CASE = UseCase(
    name="flights",
    problem="binary",
    target="late",
    key="flight_id",
    event_time="scheduled_at",
    lead_time=timedelta(minutes=60),
    tables=[
        FeatureTable(
            "weather",
            entity="origin",
            event_time="known_at",
            max_age=timedelta(hours=3),
            columns={"temp": "number", "wind_speed": "number", "precip": "number", "visib": "number"},
        ),
        FeatureTable("departures", entity="origin", event_time="known_at", columns=TRAFFIC),
        FeatureTable("carrier_departures", entity="carrier", event_time="known_at", columns=TRAFFIC),
    ],
    expectations=[
        Expect("origin", one_of=("EWR", "JFK", "LGA")),
        Expect("distance", at_least=1, at_most=6000),
        # One sensor reading of 2013-02-12 is 1048 mph.
        Expect("wind_speed", table="weather", at_least=0, at_most=200, max_bad=0.001),
        Expect("temp", table="weather", at_least=-40, at_most=130, max_missing=0.05),
    ],
    gates=[
        Gate("roc_auc", at_least=0.65),
        Gate("brier_skill", at_least=0.10),
        Gate("ece", at_most=0.05),
    ],
    # At .30 about a quarter of the flights count as late, which is the base rate.
    threshold=0.30,
    slices=[Slice("carrier_size", max_tpr_gap=0.20, max_fpr_gap=0.15), Slice("origin"), Slice("distance_band")],
    monitoring=Monitoring(
        window=timedelta(days=28),
        # Seasons: they drift every month and say nothing about the model.
        informational=(
            "weather_temp", "weather_wind_speed", "weather_precip", "weather_visib", "minute_of_day", "weekday",
        ),
        calibration_alarm=0.04,
    ),
    # In summer the scores look as in winter but are wrong, which only labels show.
    retraining=Retraining(on=("calibration",)),
    parameters={
        "max_iter": 100, "learning_rate": 0.1, "max_leaf_nodes": 15, "min_samples_leaf": 100, "l2_regularization": 1.0,
    },
)  # fmt: skip
