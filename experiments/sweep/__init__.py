"""Many runs: checked and looked up before the first of them, launched by any of Hydra's launchers, summed up."""
