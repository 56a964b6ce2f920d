"""training: the same seed gives the same weights and the same history from both languages, to the bit."""

import inspect

import numpy as np
import pytest
import rpy2.robjects as ro

import gequi

OPTIONS = {"epochs": 2, "batch_size": 8, "learning_rate": 0.01, "seed": 3, "validation": 0.25}


@pytest.fixture
def examples(random):
    return random.normal(size=(24, 1, 7, 7)), np.arange(24) % 10


def without_times(rows):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


@pytest.mark.parametrize(
    "options",
    [{}, {"augment": "rotation", "schedule": "one_cycle"}, {"augment": "jitter", "class_weights": "balanced"}],
)
def test_fit(r, both, same, examples, options):
    theirs, ours = both()
    x, y = examples
    history = gequi.fit(ours, x, y, **OPTIONS, **options)
    fitted = r.fit(theirs, x, ro.IntVector(y + 1), **OPTIONS, **options)
    same(without_times(r.value(fitted.rx2("history"))), without_times(history))
    same(
        r.value(r.get_weights(fitted)),
        {name: np.atleast_1d(weight).astype(np.float64) for name, weight in gequi.get_weights(ours).items()},
    )
    same(r.value(r.predict(fitted, x, type="class")), [int(k) + 1 for k in gequi.predict(ours, x).argmax(1)])


def test_fit_of_numbers_with_options_of_the_optimiser(r, both, same, examples, random):
    theirs, ours = both()
    x, y = examples[0], random.normal(size=(24, 10))
    options = {**OPTIONS, "optimizer": {"optimizer": "sgd", "momentum": 0.5}, "loss": "huber"}
    history = gequi.fit(ours, x, y, **options)
    fitted = r.fit(theirs, x, y, **options)
    same(without_times(r.value(fitted.rx2("history"))), without_times(history))


def test_evaluate(r, both, examples):
    theirs, ours = both()
    x, y = examples
    assert r.value(r.evaluate(theirs, x, ro.IntVector(y + 1))) == [gequi.evaluate(ours, x, y)]


def test_the_same_errors_but_that_r_counts_classes_from_one(r, both, examples):
    theirs, ours = both()
    x, y = examples[0], np.arange(24) % 11
    with pytest.raises(gequi.errors.InputError, match="from 0 to 9, one for each output of the network; got 10"):
        gequi.fit(ours, x, y)
    condition = r.code("tryCatch(fit(network, x, y), error = identity)", network=theirs, x=x, y=ro.IntVector(y + 1))
    assert "from 1 to 10, one for each output of the network; got 11" in r.code("conditionMessage(e)", e=condition)[0]


def test_fit_has_the_same_options_with_the_same_defaults(r):
    ours = inspect.signature(gequi.fit).parameters
    theirs = list(r.code("names(formals(gequiR:::fit.gequi_network))"))
    assert theirs[:4] == ["object", "x", "y", "..."]
    assert theirs[4:] == list(ours)[3:]
    for name in theirs[4:]:
        if name != "progress":  # R shows a bar to a person
            assert r.value(r.code(f"eval(formals(gequiR:::fit.gequi_network)${name})")) == ours[name].default


def test_callbacks_are_called_in_the_same_sequence_with_the_same_numbers(r, both, examples):
    theirs, ours = both()
    x, y = examples
    told = []

    def note(event):
        return lambda info: told.append({"event": event, **info})

    events = ("on_epoch_begin", "on_batch_end", "on_epoch_end")
    gequi.fit(ours, x, y, callbacks={event: note(event) for event in events}, **OPTIONS)
    found = r.code(
        """
        told <- list()
        note <- function(event) function(info) told <<- c(told, list(c(list(event = event), info)))
        fit(network, x, y, epochs = 2, batch_size = 8, learning_rate = 0.01, seed = 3, validation = 0.25, callbacks =
          list(on_epoch_begin = note("on_epoch_begin"), on_batch_end = note("on_batch_end"), on_epoch_end = note("on_epoch_end")))
        told
        """,
        network=theirs, x=x, y=ro.IntVector(y + 1),
    )  # fmt: skip
    timed = ("seconds", "seconds_left")
    expected = [{key: value for key, value in info.items() if key not in timed} for info in told]
    assert [{key: value for key, value in info.items() if key not in timed} for info in r.value(found)] == expected
    assert [info["event"] for info in told] == [events[0], *[events[1]] * 3, events[2]] * 2


def test_a_callback_stops_both(r, both, same, examples):
    theirs, ours = both()
    x, y = examples
    history = gequi.fit(ours, x, y, callbacks={"on_batch_end": lambda info: info["step"] < 4}, **OPTIONS)
    callbacks = r.code("list(on_batch_end = function(info) info$step < 4)")
    fitted = r.fit(theirs, x, ro.IntVector(y + 1), callbacks=callbacks, **OPTIONS)
    assert r.value(fitted.rx2("history"))[-1]["stopped"] == history[-1]["stopped"] == "callback"
    same(r.value(r.predict(fitted, x, type="raw")), gequi.predict(ours, x).astype(np.float64))


def test_masks(r, examples):
    layers = [{"layer": "conv", "fields": {"trivial": 2}, "kernel_size": 3, "padding": 1}]
    ours = gequi.equivariant_network(gequi.gspace("rot2dOnR2", N=4), "trivial", layers, seed=1)
    theirs = r.code(
        "layer_conv(equivariant_network(gspace('rot2dOnR2', N = 4), c(trivial = 1), seed = 1), "
        "c(trivial = 2), 3, padding = 1)"
    )
    x, mask = examples[0], examples[0][:, 0] > 0.5
    expected = gequi.evaluate(ours, x, mask)
    for targets in (mask, mask.astype(int), mask.astype(float)):
        assert r.value(r.evaluate(theirs, x, targets)) == [expected]
    unknown = np.where(np.arange(7) < 3, np.nan, mask.astype(float))
    assert r.value(r.evaluate(theirs, x, unknown)) == [gequi.evaluate(ours, x, unknown)]
