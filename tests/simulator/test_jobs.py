"""The life of a job: bought at once, ready by the clock, delivered, deleted, failed."""

from collections.abc import Callable

import pytest

from gateway.simulator.execution import execution_seconds, queue_id_for
from tests.simulator.conftest import PRIVATE_ORDER, TEXT_MODEL, Venice


def test_a_running_job_tells_its_times_in_milliseconds(venice: Venice) -> None:
    venice.fate({"execution_seconds": 100})
    job = venice.buy()
    venice.wait(53.2)
    assert venice.look(job).json() == {
        "status": "PROCESSING",
        "average_execution_time": 115000,
        "execution_duration": 53200,
    }


def test_a_finished_job_is_an_mp4_with_its_length(venice: Venice) -> None:
    job = venice.buy()
    venice.wait()
    answer = venice.look(job)
    assert answer.headers["content-type"] == "video/mp4"
    assert int(answer.headers["content-length"]) == len(answer.content) >= 120_000
    assert venice.look(job).content == answer.content
    assert venice.job_of(job)["bytes_served_complete"] == 2


def test_the_queue_answer_holds_nothing_else(venice: Venice) -> None:
    assert set(venice.buy()) == {"model", "queue_id"}


def test_speed_divides_all_times(make_venice: Callable[..., Venice]) -> None:
    slow, fast = make_venice(), make_venice(speed=100)
    slow_job, fast_job = (each.job_of(each.buy()) for each in (slow, fast))
    assert slow_job["queue_id"] == fast_job["queue_id"]
    took = [job["ready_at"] - job["accepted_at"] for job in (slow_job, fast_job)]
    assert took[0] == pytest.approx(100 * took[1], rel=1e-3)
    assert fast.look(fast_job).json()["average_execution_time"] == 1150


def test_four_jobs_in_five_are_done_by_the_average() -> None:
    times = [execution_seconds(7, queue_id_for(7, number), 100) for number in range(2000)]
    assert times == [execution_seconds(7, queue_id_for(7, number), 100) for number in range(2000)]
    assert sum(seconds <= 100 for seconds in times) / len(times) == pytest.approx(0.8, abs=0.03)
    assert 15 < min(times) < max(times) < 400


def test_delete_on_completion_serves_once(venice: Venice) -> None:
    job = venice.buy()
    assert venice.look(job, delete_media_on_completion=True).json()["status"] == "PROCESSING"
    venice.wait()
    assert venice.look(job, delete_media_on_completion=True).status_code == 200
    assert venice.look(job).status_code == 404
    assert venice.job_of(job)["deleted"]


def test_complete_deletes_a_finished_video(venice: Venice) -> None:
    job = venice.buy()
    venice.wait()
    assert venice.complete(job).json() == {"success": True}
    assert venice.look(job).status_code == 404
    assert venice.complete(job).json() == {"success": True}


def test_complete_on_a_running_job_deletes_nothing(venice: Venice) -> None:
    job = venice.buy()
    assert venice.complete(job).json() == {"success": True}
    venice.wait()
    assert venice.look(job).headers["content-type"] == "video/mp4"
    assert venice.job_of(job)["charged_usd"] == "0.060000"


def test_an_unknown_id_is_404_to_retrieve_and_400_to_complete(venice: Venice) -> None:
    unknown = {"model": TEXT_MODEL, "queue_id": "6f2d8f64-0000-4000-8000-000000000000"}
    assert venice.look(unknown).status_code == 404
    refused = venice.complete(unknown)
    assert (refused.status_code, refused.json()["error"]) == (400, "Request ID is invalid.")


def test_a_job_is_only_found_under_its_own_model(venice: Venice) -> None:
    job = {**venice.buy(), "model": "longcat-text-to-video"}
    assert venice.look(job).status_code == 404
    assert venice.complete(job).status_code == 400


def test_a_refunded_failure_nested_in_an_error_object(venice: Venice) -> None:
    venice.fate("fail_refunded_nested")
    job = venice.buy()
    assert venice.truth()["refunded_usd"] == "0.000000"
    venice.wait()
    answer = venice.look(job)
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert (error["type"], error["credits_refunded"]) == ("provider_content_policy", True)
    assert venice.job_of(job)["refunded_usd"] == "0.060000"


def test_a_refunded_failure_in_the_flat_shape(venice: Venice) -> None:
    venice.fate("fail_refunded_flat")
    job = venice.buy()
    venice.wait()
    answer = venice.look(job)
    assert answer.status_code == 422
    assert isinstance(answer.json()["error"], str)
    assert answer.json()["credits_refunded"] is True
    assert venice.truth()["refunded_usd"] == "0.060000"


def test_a_billed_failure_refunds_nothing(venice: Venice) -> None:
    venice.fate("fail_billed")
    job = venice.buy()
    venice.wait()
    assert venice.look(job).json()["error"]["credits_refunded"] is False
    assert venice.truth()["refunded_usd"] == "0.000000"


def test_a_failed_status_comes_with_200(venice: Venice) -> None:
    venice.fate("failed_status")
    job = venice.buy()
    venice.wait()
    answer = venice.look(job)
    assert (answer.status_code, answer.json()["status"]) == (200, "FAILED")
    assert answer.json()["error"]


def test_a_moderated_job_is_a_tiny_mp4(venice: Venice) -> None:
    venice.fate("placeholder")
    job = venice.buy()
    venice.wait()
    answer = venice.look(job)
    assert answer.headers["content-type"] == "video/mp4"
    assert 1_000 < len(answer.content) < 100_000


def test_a_stuck_job_is_processing_for_ever(venice: Venice) -> None:
    venice.fate("stuck")
    job = venice.buy()
    venice.wait(10 * 24 * 3600)
    assert venice.look(job).json()["status"] == "PROCESSING"


def test_a_lost_job_ends_in_404(venice: Venice) -> None:
    venice.fate({"kind": "lost", "execution_seconds": 5})
    job = venice.buy()
    assert venice.look(job).status_code == 200
    venice.wait(5)
    assert venice.look(job).status_code == 404
    assert venice.job_of(job)["state"] == "lost"


def test_a_fate_may_be_ready_at_once_and_have_its_own_price_and_size(venice: Venice) -> None:
    venice.fate({"kind": "ready_now", "charge_usd": "1.25", "video_bytes_min": 2_000_000})
    job = venice.buy()
    assert len(venice.look(job).content) >= 2_000_000
    assert venice.job_of(job)["charged_usd"] == "1.250000"


def test_a_private_job_is_delivered_by_its_link_only(venice: Venice) -> None:
    job = venice.buy(**PRIVATE_ORDER, resolution="480p")
    link = job["download_url"]
    assert link.startswith("http://venice/private/")
    assert venice.request("GET", link).status_code == 404
    venice.wait()
    assert venice.look(job).json()["status"] == "COMPLETED"
    video = venice.request("GET", link)
    assert (video.status_code, video.headers["content-type"]) == (200, "video/mp4")
    head = venice.request("HEAD", link)
    assert head.headers["content-length"] == str(len(video.content))
    assert head.content == b""
    assert venice.job_of(job)["bytes_served_complete"] == 1


def test_a_private_job_cannot_be_completed(venice: Venice) -> None:
    job = venice.buy(**PRIVATE_ORDER, resolution="480p")
    venice.wait()
    refused = venice.complete(job)
    assert (refused.status_code, refused.json()["error"]) == (400, "Request ID is invalid.")


def test_a_deleted_link_is_gone_for_good(venice: Venice) -> None:
    link = venice.buy(**PRIVATE_ORDER, resolution="480p")["download_url"]
    venice.wait()
    assert venice.request("DELETE", link).status_code == 200
    assert venice.request("GET", link).status_code == 410
    assert venice.request("DELETE", link).status_code == 410


def test_a_link_lasts_a_day(venice: Venice) -> None:
    link = venice.buy(**PRIVATE_ORDER, resolution="480p")["download_url"]
    venice.wait(24 * 3600)
    assert venice.request("GET", link).status_code == 200
    venice.wait(1)
    assert venice.request("GET", link).status_code == 410


def test_a_link_is_not_for_crowds(make_venice: Callable[..., Venice]) -> None:
    venice = make_venice(link_downloads_max=2)
    link = venice.buy(**PRIVATE_ORDER, resolution="480p")["download_url"]
    venice.wait()
    statuses = [venice.request("GET", link).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]


def test_links_are_made_from_the_public_url(make_venice: Callable[..., Venice]) -> None:
    venice = make_venice(public_url="https://private-share.venice.ai")
    link = venice.buy(**PRIVATE_ORDER, resolution="480p")["download_url"]
    assert link.startswith("https://private-share.venice.ai/private/")
