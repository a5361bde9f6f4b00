"""Quantities: their keys and units typed by hand, and sums that neither order nor size can spoil."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnq.cost.quantities import BRANCH_ENERGIES, ENERGY, EVENT_ENERGY, STORAGE, declared, layer_costs, share_of, total
from snnq.cost.table import read_table
from snnq.hardware.crossbars.quantities import IMC_AREA, IMC_ENERGY
from snnq.network.layers import Layer
from snnq.searching.budget import exact, parse_budget, units

LINEAR = Layer("head", "head", "linear", (10, 256), 2560, 2560, "reals")


def test_the_keys_of_files_stay():
    assert declared() == (STORAGE, ENERGY, EVENT_ENERGY, *BRANCH_ENERGIES, IMC_ENERGY, IMC_AREA)
    assert [one.main for one in declared()] == [True, True, False, False, False, False, False, False]
    assert [one.needs for one in declared()][-2:] == ["arrays", "arrays"]
    assert IMC_ENERGY.keys == ("imc_energy_pj", "imc_energy_fraction")
    assert IMC_AREA.keys == ("imc_area_um2", "imc_area_fraction")
    assert EVENT_ENERGY.keys == ("expected_event_energy_pj", "event_energy_fraction")
    assert STORAGE.keys == ("avg_bits", "storage_bits", "storage_fraction")
    assert ENERGY.keys == ("energy_pj", "energy_fraction")
    assert (STORAGE.share, ENERGY.share) == ("storage_share", "energy_share")
    assert (STORAGE.relative, ENERGY.relative) == ("avg_bits", "energy_fraction")


def test_golden_price():
    # An int8 product of 0.2 pJ and an int32 sum of 0.1 (Horowitz), 640 pJ a 32-bit word from DRAM (Han): 20 pJ a bit.
    costs = layer_costs(LINEAR, "uniform-2", read_table())
    assert costs == {"storage_bits": 5120, "energy_pj": pytest.approx(2560 * 0.3 + 5120 * 20)}
    assert isinstance(costs["storage_bits"], int)


def test_every_way_to_state_a_limit():
    found = {name: (unit.key, unit.factor) for name, unit in units().items()}
    assert found == {
        "avg-bits": ("avg_bits", 1),
        "storage": ("storage_fraction", 0.01),
        "storage-kib": ("storage_bits", 8192),
        "storage-mib": ("storage_bits", 8388608),
        "energy": ("energy_fraction", 0.01),
        "energy-pj": ("energy_pj", 1),
        "energy-nj": ("energy_pj", 1000),
        "energy-uj": ("energy_pj", 1000000),
        "ann-energy": ("ann_energy_fraction", 0.01),
        "ann-energy-nj": ("ann_energy_pj", 1000),
        "snn-energy": ("snn_energy_fraction", 0.01),
        "snn-energy-nj": ("snn_energy_pj", 1000),
        "fusion-energy": ("fusion_energy_fraction", 0.01),
        "fusion-energy-nj": ("fusion_energy_pj", 1000),
        "event-energy": ("event_energy_fraction", 0.01),
        "event-energy-pj": ("expected_event_energy_pj", 1),
        "event-energy-nj": ("expected_event_energy_pj", 1000),
        "event-energy-uj": ("expected_event_energy_pj", 1000000),
        "imc-energy": ("imc_energy_fraction", 0.01),
        "imc-energy-pj": ("imc_energy_pj", 1),
        "imc-energy-nj": ("imc_energy_pj", 1000),
        "imc-energy-uj": ("imc_energy_pj", 1000000),
        "imc-area": ("imc_area_fraction", 0.01),
        "imc-area-um2": ("imc_area_um2", 1),
        "imc-area-mm2": ("imc_area_um2", 1000000),
    }
    assert [name for name, unit in units().items() if unit.per_cent] == [
        *("storage", "energy", "event-energy"),
        *("ann-energy", "snn-energy", "fusion-energy"),
        *("imc-energy", "imc-area"),
    ]


@given(st.sampled_from([key for one in (STORAGE, ENERGY, EVENT_ENERGY) for key in one.keys]), st.floats(1e-6, 1e9))
def test_a_limit_that_is_typed_back_is_the_same(key, value):
    assert parse_budget([exact(key, value)])[key] == pytest.approx(value, rel=1e-15)


@given(st.lists(st.floats(0, 1e15)))
def test_a_sum_is_the_rounded_exact_sum(amounts):
    assert total(amounts) == float(sum(map(Fraction, amounts)))
    assert total(reversed(amounts)) == total(amounts)


def test_whole_numbers_stay_whole_and_zero_has_no_share():
    assert total([2**60, 1]) == 2**60 + 1
    assert isinstance(total([1, 2]), int)
    assert (share_of(1, 4), share_of(0.0, 0.0)) == (0.25, 0.0)
