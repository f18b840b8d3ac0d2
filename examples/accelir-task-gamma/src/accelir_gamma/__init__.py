"""The plugin: tells accelir of the task and its network without importing them."""

from accelir import NetworkSpec, TaskSpec, hookimpl


@hookimpl
def accelir_tasks() -> list[TaskSpec]:
    return [TaskSpec(name="gamma", factory="accelir_gamma.task:Gamma", summary="Too dark by a gamma of 2.2")]


@hookimpl
def accelir_networks() -> list[NetworkSpec]:
    return [
        NetworkSpec(
            name="gamma-repair",
            factory="accelir_gamma.network:GammaRepair",
            summary="The inverse curve, drawn by 24 ReLUs",
            options={"width": 24},
            family="gamma",
            width=24,
            task="gamma",
        )
    ]
