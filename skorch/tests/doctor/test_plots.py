"""Tests of the pictures: as images, and by what is drawn where."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from skorch.doctor import SkorchDoctor
from skorch.tests.doctor.doctor_tools import examine
from skorch.tests.doctor.pictures import FOLDER, PICTURES, draw, make_doctor
from skorch.tests.optional import OptionalPackage

mpl = pytest.importorskip('matplotlib')
plt = OptionalPackage('matplotlib.pyplot')
# what is drawn anew differs from the file by rounding only; other bins give 5 and more
TOLERANCE = 2.0


@pytest.fixture(autouse=True)
def _agg() -> Iterator[None]:
    backend = mpl.get_backend()
    mpl.use('agg')
    yield
    plt.close('all')
    mpl.use(backend)


@pytest.fixture(scope='module')
def drawn() -> SkorchDoctor:
    return make_doctor()


@pytest.fixture(scope='module')
def doctor() -> SkorchDoctor:
    return examine()


class TestImages:
    @pytest.mark.parametrize('name', PICTURES)
    def test_same_as_the_file(self, drawn: SkorchDoctor, name: str, tmp_path: Path) -> None:
        from matplotlib.testing.compare import compare_images

        draw(drawn, name, tmp_path / 'new.png')
        expected = tmp_path / 'expected.png'  # a difference is saved beside it
        expected.write_bytes((FOLDER / f'{name}.png').read_bytes())
        assert compare_images(str(expected), str(tmp_path / 'new.png'), tol=TOLERANCE) is None

    def test_comparison_sees_a_difference(self, drawn: SkorchDoctor, tmp_path: Path) -> None:
        from matplotlib.testing.compare import compare_images

        draw(drawn, 'activations', tmp_path / 'one.png')
        draw(drawn, 'gradients', tmp_path / 'other.png')
        one, other = str(tmp_path / 'one.png'), str(tmp_path / 'other.png')
        assert 'RMS' in str(compare_images(one, other, tol=TOLERANCE))

    def test_files_are_small_and_complete(self) -> None:
        assert {path.stem for path in FOLDER.glob('*.png')} == set(PICTURES)
        assert max(path.stat().st_size for path in FOLDER.glob('*.png')) < 40_000


class TestLoss:
    def test_lines(self, doctor: SkorchDoctor) -> None:
        ax = doctor.plot_loss()
        history = doctor.net.history
        assert [line.get_label() for line in ax.lines] == ['train', 'valid']
        for line, name in zip(ax.lines, ('train_loss', 'valid_loss'), strict=True):
            assert_allclose(line.get_xdata(), [1, 2, 3])
            assert_allclose(line.get_ydata(), history[:, name])
        assert ax.get_xlabel() == 'epoch'
        assert_allclose(ax.figure.get_size_inches(), (12, 6))

    def test_without_validation(self) -> None:
        ax = examine(train_split=None).plot_loss()
        assert [text.get_text() for text in ax.get_legend().get_texts()] == ['train']

    def test_arguments(self, doctor: SkorchDoctor) -> None:
        ax = plt.subplots()[1]
        assert doctor.plot_loss(ax=ax, lw=5, color='r') is ax
        assert {(line.get_linewidth(), line.get_color()) for line in ax.lines} == {(5, 'r')}


@pytest.mark.parametrize(
    ('call', 'names', 'recs'),
    [
        ('plot_activations', ['lin0', 'seq.0', 'seq.1', 'seq', 'lin1'], 'activation_recs_'),
        (
            'plot_gradients',
            [f'{n}.{p}' for n in ('lin1', 'seq.0', 'lin0') for p in ('bias', 'weight')],
            'gradient_recs_',
        ),
    ],
)
class TestDistributions:
    def test_default(self, doctor: SkorchDoctor, call: str, names: Any, recs: str) -> None:
        axes = getattr(doctor, call)()
        assert axes.shape == (1, 1)
        ax = axes[0, 0]
        labels = [text.get_text() for text in ax.get_legend().get_texts()]
        assert sorted(labels) == sorted(names)
        assert len(ax.patches) == len(names)
        assert ax.get_title().endswith('of module, step 9')
        assert_allclose(ax.figure.get_size_inches(), (12, 6))

    def test_histogram(self, doctor: SkorchDoctor, call: str, names: Any, recs: str) -> None:
        name = names[-1]
        axes = getattr(doctor, call)(step=2, match_fn=lambda n: n == name, density=False)
        points = axes[0, 0].patches[0].get_xy()
        values = getattr(doctor, recs)['module'][2][name]
        counts, edges = np.histogram(values, bins=49)
        assert_allclose(points[1:-1:2, 1], counts)
        assert_allclose(points[1:-1:2, 0], edges[:-1], atol=1e-6)

    def test_axes(self, doctor: SkorchDoctor, call: str, names: Any, recs: str) -> None:
        single = plt.subplots()[1]
        assert getattr(doctor, call)(axes=single).item() is single
        many = plt.subplots(1, 2)[1]
        returned = getattr(doctor, call)(axes=many, bins=np.linspace(-1, 1, 5))
        assert returned[0] is many[0]
        assert len(many[0].patches) == len(names)
        assert len(many[1].patches) == 0

    def test_too_few_axes(self, doctor: SkorchDoctor, call: str, names: Any, recs: str) -> None:
        with pytest.raises(ValueError, match='1 components are to be drawn, but axes has room'):
            getattr(doctor, call)(axes=[])

    @pytest.mark.parametrize('step', [9, -10, 99])
    def test_no_such_step(
        self, doctor: SkorchDoctor, call: str, names: Any, recs: str, step: int
    ) -> None:
        with pytest.raises(IndexError, match=rf'no step {step}: 9 steps were recorded'):
            getattr(doctor, call)(step=step)

    def test_no_match(self, doctor: SkorchDoctor, call: str, names: Any, recs: str) -> None:
        with pytest.raises(ValueError, match=r'match_fn matches no .* get_(layer|param)_names\(\)'):
            getattr(doctor, call)(match_fn=lambda name: False)

    def test_forgotten(self, doctor: SkorchDoctor, call: str, names: Any, recs: str) -> None:
        few = examine(keep_steps=2)
        getattr(few, call)(step=7)
        with pytest.raises(ValueError, match=r'of step 6: .* keep_steps let the doctor forget'):
            getattr(few, call)(step=6)


def test_densities_outside_of_the_bins(doctor: SkorchDoctor) -> None:
    axes = doctor.plot_activations(bins=[100, 101, 102], match_fn=lambda name: name == 'lin0')
    assert not np.isnan(axes[0, 0].patches[0].get_xy()).any()


class TestParamUpdates:
    def test_lines(self, doctor: SkorchDoctor) -> None:
        axes = doctor.plot_param_updates(match_fn=lambda name: 'lin' in name, lw=3)
        ax = axes[0, 0]
        labels = ['lin1.bias', 'lin1.weight', 'lin0.bias', 'lin0.weight']
        assert sorted(line.get_label() for line in ax.lines) == sorted(labels)
        for line in ax.lines:
            steps = doctor.param_update_recs_['module']
            expected = np.log10([step[line.get_label()] for step in steps])
            assert_allclose(line.get_ydata(), expected)
            assert_allclose(line.get_xdata(), np.arange(1, 10))
            assert line.get_linewidth() == 3
        assert (ax.get_title(), ax.get_xlabel()) == ('module', 'step')

    def test_no_match(self, doctor: SkorchDoctor) -> None:
        with pytest.raises(ValueError, match='match_fn matches no parameter'):
            doctor.plot_param_updates(match_fn=lambda name: False)


@pytest.mark.parametrize(
    ('call', 'name', 'recs', 'kind'),
    [
        ('plot_activations_over_time', 'lin0', 'activation_recs_', 'layer'),
        ('plot_gradient_over_time', 'lin0.weight', 'gradient_recs_', 'parameter'),
    ],
)
class TestOverTime:
    def test_areas(self, doctor: SkorchDoctor, call: str, name: str, recs: str, kind: str) -> None:
        ax = getattr(doctor, call)(name)
        steps = [step[name] for step in getattr(doctor, recs)['module']]
        edges = np.histogram_bin_edges(np.concatenate([s.ravel() for s in steps]), bins=99)
        assert len(ax.collections) == 9
        bottoms = []
        for area, values in zip(ax.collections, steps, strict=True):
            points = area.get_paths()[0].vertices
            counts = np.histogram(values, bins=edges)[0]
            assert np.ptp(points[:, 1]) == pytest.approx(counts.max() - counts.min())
            assert_allclose(area.get_facecolor(), [[0, 0, 0, 1 / 9]])
            bottoms.append(points[:, 1].min())
        assert bottoms == sorted(bottoms, reverse=True)
        assert bottoms[-1] == 0
        orders = [area.get_zorder() for area in ax.collections]
        assert orders == sorted(orders)

    def test_arguments(
        self, doctor: SkorchDoctor, call: str, name: str, recs: str, kind: str
    ) -> None:
        ax = plt.subplots()[1]
        returned = getattr(doctor, call)(name, ax=ax, bins=5, color='r', alpha=0.5, lw=1)
        assert returned is ax
        assert_allclose(ax.collections[0].get_facecolor(), [[1, 0, 0, 0.5]])
        assert len(np.unique(ax.collections[0].get_paths()[0].vertices[:, 0])) == 5
        ax = getattr(doctor, call)(name, figsize=(4, 3))
        assert_allclose(ax.figure.get_size_inches(), (4, 3))

    @pytest.mark.parametrize('module', ['module', 'criterion', 'none'])
    def test_unknown_name(
        self, doctor: SkorchDoctor, call: str, name: str, recs: str, kind: str, module: str
    ) -> None:
        wrong = 'wrong' if module == 'module' else name
        with pytest.raises(ValueError, match=f"No {kind} '{wrong}' of '{module}' was recorded"):
            getattr(doctor, call)(wrong, module_name=module)


def test_without_matplotlib(doctor: SkorchDoctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'matplotlib.pyplot', None)
    with pytest.raises(ImportError, match=r"Plotting with the doctor needs .* 'matplotlib'"):
        doctor.plot_loss()
    assert doctor.report()
