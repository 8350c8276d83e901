"""Three BMCs for the tour: the configuration of sushy-emulator with its fake driver.

No machine stands behind them. Each change of power takes 1 to 11 seconds.
"""

SUSHY_EMULATOR_LISTEN_IP = "127.0.0.1"
SUSHY_EMULATOR_LISTEN_PORT = 8100
SUSHY_EMULATOR_STATE_DIR = "build/bmcs"
SUSHY_EMULATOR_FAKE_DRIVER = True
SUSHY_EMULATOR_FAKE_SYSTEMS = [
    {
        "uuid": f"00000000-0000-4000-8000-00000000000{n}",
        "name": f"bmc-{n}",
        "power_state": "Off",
        "external_notifier": False,
        "nics": [{"mac": f"02:4d:00:00:00:0{n}", "ip": ""}],
    }
    for n in (1, 2, 3)
]
