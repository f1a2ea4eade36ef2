"""What the building process is told."""

from pathlib import Path

from runtime.bundle.plan_json import BatchProfile, BuildOptions
from runtime.plans.build_events import BuildRequest


def test_request_to_the_building_process_survives_json(tmp_path: Path) -> None:
    request = BuildRequest(
        bundle=tmp_path / "a bundle",
        plan=tmp_path / ".model.plan.x.partial",
        options=BuildOptions(
            profile=BatchProfile(min=2, opt=4, max=6),
            workspace_mib=512,
            optimization_level=5,
            version_compatible=True,
            hardware_compatibility="same-compute-capability",
            required_share=0.9,
        ),
        timing_cache=tmp_path / "kernels.cache",
        verbose=True,
    )
    assert BuildRequest.model_validate_json(request.model_dump_json()) == request
