from __future__ import annotations

import pytest

from lamina.config import parse_options
from lamina.errors import ConfigError
from lamina_drivers.overlay.driver import OverlayDriver
from lamina_drivers.overlay.options import OverlayOptions


def test_mount_options_are_taken_apart_at_commas() -> None:
    assert OverlayOptions(mount_options="nodev,uuid=null").extra == ("nodev", "uuid=null")
    assert OverlayOptions().extra == ()


@pytest.mark.parametrize("option", ["upperdir=/etc", "metacopy=on", "volatile", "ro"])
def test_mount_option_that_is_the_drivers_to_decide_is_refused(option: str) -> None:
    with pytest.raises(ConfigError, match=f"'{option.partition('=')[0]}' is the driver's to decide"):
        parse_options(OverlayDriver, {"mount_options": f"nodev,{option}"})
