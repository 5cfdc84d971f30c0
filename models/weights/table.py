"""The weight sets: what each is for, where it comes from, under which licence. One row a set."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from core.errors import InputError

#: What a pattern takes: tensors in safetensors, and the texts beside them. A row that needs a pickle names the file.
WANTED = (".safetensors", ".json", ".txt", ".model")


@dataclass(frozen=True)
class Repository:
    """One repository on the Hugging Face hub, and what of it is needed."""

    name: str
    """``owner/name``."""
    files: tuple[str, ...]
    """Paths in the repository. A plain path must be there; one with ``*`` takes what there is of the kinds in
    :data:`WANTED`."""
    folder: str = ""
    """Where it lies in the set's folder; empty: the set's folder itself."""
    revision: str = "main"
    """Branch or commit that is asked for; the manifest records the commit."""
    sha256: Mapping[str, str] = field(default_factory=dict)
    """Path -> hex digest, only where the repository's own page states it. For all others the hub's digest is checked."""

    @property
    def page(self) -> str:
        """Its page for people."""
        return f"https://huggingface.co/{self.name}"


@dataclass(frozen=True)
class GitRepository:
    """One repository on GitHub, large files (LFS) included, and what of it is needed."""

    name: str
    """``owner/name``."""
    files: tuple[str, ...]
    """Patterns of paths in the repository."""
    left_out: tuple[str, ...] = ()
    """Patterns of paths that are not taken after all."""
    branch: str = "HEAD"
    """Branch whose newest commit is taken, which the manifest records; ``HEAD`` is the one that the repository shows."""

    @property
    def page(self) -> str:
        """Its page for people."""
        return f"https://github.com/{self.name}"


@dataclass(frozen=True)
class WeightSet:
    """One row: everything that is fetched, checked and required together."""

    name: str
    """What the user types."""
    purpose: str
    """What it is for, in a few words."""
    licence: str
    """As its repositories state it."""
    size_gb: float
    """About how much is fetched, 10^9 bytes; 0 where its page tells."""
    repositories: tuple[Repository, ...] = ()
    """Where it comes from; empty for sets that the user puts in place."""
    github: GitRepository | None = None
    """Where it comes from, if that is not the hub."""
    by_hand: tuple[str, ...] = ()
    """Files that the user puts into the set's folder, where the licence forbids to fetch them."""
    page: str = ""
    """Where to register and download the files in ``by_hand``."""
    gated: bool = False
    """Whether the hub asks for an accepted licence and a token."""
    needed_by: tuple[str, ...] = ()
    """Engines that cannot run without it."""

    @property
    def request(self) -> str:
        """What is asked for, in one short text: another text means that the set on disk is of another version."""
        asked: list[tuple[str, ...]] = [(r.name, r.revision, r.folder, *r.files) for r in self.repositories]
        if self.github is not None:
            asked.append((self.github.name, self.github.branch, *self.github.files, *self.github.left_out))
        return hashlib.sha256(repr(asked).encode()).hexdigest()[:16]

    @property
    def command(self) -> str:
        """The command that gets it."""
        return f"python app.py weights pull {self.name}"


_CONTROLNET_FILES = ("config.json", "diffusion_pytorch_model.fp16.safetensors")

WEIGHTS: dict[str, WeightSet] = {
    row.name: row
    for row in (
        WeightSet(
            "controlnet-sd15",
            "the controlnet engine: Realistic Vision 5.1, ControlNets for pose, depth and edges, VAE",
            "CreativeML OpenRAIL-M, OpenRAIL, MIT",
            6.4,
            (
                # Its own VAE is left out: the set's VAE takes its place.
                Repository(
                    "SG161222/Realistic_Vision_V5.1_noVAE",
                    (
                        "model_index.json",
                        "unet/config.json",
                        "unet/diffusion_pytorch_model.safetensors",
                        "text_encoder/config.json",
                        "text_encoder/model.safetensors",
                        "tokenizer/*",
                        "scheduler/*",
                        "feature_extractor/*",
                    ),
                    "checkpoint",
                ),
                Repository(
                    "lllyasviel/control_v11p_sd15_openpose",
                    _CONTROLNET_FILES,
                    "openpose",
                    sha256={_CONTROLNET_FILES[1]: "b25b1125e870275550b2a7de289056cb3c236c01c293bd5ba883657b1c006e3e"},
                ),
                Repository(
                    "lllyasviel/control_v11f1p_sd15_depth",
                    _CONTROLNET_FILES,
                    "depth",
                    sha256={_CONTROLNET_FILES[1]: "838f3e848cb93231d41084d858d117416ab32907a5c8c80c421a131d101ba1ef"},
                ),
                Repository(
                    "lllyasviel/control_v11p_sd15_canny",
                    _CONTROLNET_FILES,
                    "canny",
                    sha256={_CONTROLNET_FILES[1]: "9ed3a7f834aca0d2b26f9c7f186b3ee29465de1d13e152459e8c9cbb25a0c0bc"},
                ),
                Repository(
                    "stabilityai/sd-vae-ft-mse",
                    ("config.json", "diffusion_pytorch_model.safetensors"),
                    "vae",
                    sha256={
                        "diffusion_pytorch_model.safetensors": (
                            "a1d993488569e928462932c8c38a0760b874d166399b14414135bd9c42df5815"
                        )
                    },
                ),
            ),
            needed_by=("controlnet",),
        ),
        WeightSet(
            "ip-adapter",
            "the controlnet engine with a reference picture",
            "Apache-2.0",
            2.7,
            (
                Repository(
                    "h94/IP-Adapter",
                    (
                        "models/ip-adapter_sd15.safetensors",
                        "models/ip-adapter-plus_sd15.safetensors",
                        "models/image_encoder/config.json",
                        "models/image_encoder/model.safetensors",
                    ),
                    sha256={
                        "models/ip-adapter_sd15.safetensors": (
                            "289b45f16d043d0bf542e45831f971dcdaabe18b656f11e86d9dfba7e9ee3369"
                        ),
                        "models/ip-adapter-plus_sd15.safetensors": (
                            "a1c250be40455cc61a43da1201ec3f1edaea71214865fb47f57927e06cbe4996"
                        ),
                        "models/image_encoder/model.safetensors": (
                            "6ca9667da1ca9e0b0f75e46bb030f7e011f44f86cbfb8d5a36590fcd7507b030"
                        ),
                    },
                ),
            ),
        ),
        WeightSet(
            "lcm-lora",
            "the controlnet engine in 4 to 8 steps (preset fast)",
            "OpenRAIL++",
            0.135,
            (
                Repository(
                    "latent-consistency/lcm-lora-sdv1-5",
                    ("pytorch_lora_weights.safetensors",),
                    sha256={
                        "pytorch_lora_weights.safetensors": (
                            "8f90d840e075ff588a58e22c6586e2ae9a6f7922996ee6649a7f01072333afe4"
                        )
                    },
                ),
            ),
        ),
        WeightSet(
            "animatediff",
            "the controlnet engine's window mode (preset high)",
            "none stated: see its page",
            1.7,
            (
                # The fp16 file beside it has the same size: nothing is saved by it.
                Repository(
                    "guoyww/animatediff-motion-adapter-v1-5-3",
                    ("config.json", "diffusion_pytorch_model.safetensors"),
                ),
            ),
        ),
        WeightSet(
            "wan-animate",
            "the wan-animate engine: Wan2.2-Animate 14B",
            "Apache-2.0",
            82.3,
            (
                Repository(
                    "Wan-AI/Wan2.2-Animate-14B-Diffusers",
                    (
                        "model_index.json",
                        "image_encoder/*",
                        "image_processor/*",
                        "scheduler/*",
                        "text_encoder/*",
                        "tokenizer/*",
                        "transformer/*",
                        "vae/*",
                    ),
                    sha256={
                        "transformer/diffusion_pytorch_model-00002-of-00015.safetensors": (
                            "ab964d30dcea803df523afdd4b4f074d442fae82e0340b315765cd55f94ff012"
                        ),
                        "transformer/diffusion_pytorch_model-00012-of-00015.safetensors": (
                            "4b47a7805c7f7ba37c6085676c6f26433474b5203cd1abd4bb98c2f0e48c5122"
                        ),
                        "transformer/diffusion_pytorch_model-00014-of-00015.safetensors": (
                            "f2e3c3be5814ba1b3064fc719c2e746999b2b2eff222851bf4419fb52b1bc91e"
                        ),
                        "transformer/diffusion_pytorch_model-00015-of-00015.safetensors": (
                            "1e195f8bd32bc25cb1da35985063399147b43ab0b47145d32408531bf219203e"
                        ),
                    },
                ),
            ),
            needed_by=("wan-animate",),
        ),
        WeightSet(
            "wan-few-step",
            "the wan-animate engine in few steps (few_step=true)",
            "none stated: see its page",
            0.738,
            (
                Repository(
                    "Kijai/WanVideo_comfy",
                    ("Lightx2v/lightx2v_I2V_14B_480p_cfg_step_distill_rank64_bf16.safetensors",),
                    sha256={
                        "Lightx2v/lightx2v_I2V_14B_480p_cfg_step_distill_rank64_bf16.safetensors": (
                            "85c4a61c30e0497aa44b91d93a893b624708461a56fe5485183b28fa07e2dfb3"
                        )
                    },
                ),
            ),
        ),
        WeightSet(
            "wan-relight",
            "the wan-animate engine: fits the new person to the light of the shot",
            "none stated: see its page",
            1.44,
            (Repository("Kijai/WanVideo_comfy", ("LoRAs/Wan22_relight/WanAnimate_relight_lora_fp16.safetensors",)),),
        ),
        WeightSet(
            "depth",
            "depth maps of what is not the body: Depth Anything V2 Small",
            "Apache-2.0",
            0.1,
            (
                Repository(
                    "depth-anything/Depth-Anything-V2-Small-hf",
                    ("config.json", "model.safetensors", "preprocessor_config.json"),
                    sha256={"model.safetensors": "3152477ce0d8d6978d76b995120de97cb5b928701fd0f817769f59e249a16b70"},
                ),
            ),
        ),
        WeightSet(
            "yolo-pose",
            "the ultralytics detector: several people in a shot (YOLO11n-pose)",
            "AGPL-3.0",
            0.006,
            (
                Repository(
                    "Ultralytics/YOLO11",
                    ("yolo11n-pose.pt",),
                    sha256={"yolo11n-pose.pt": "869e83fcdffdc7371fa4e34cd8e51c838cc729571d1635e5141e3075e9319dc0"},
                ),
            ),
        ),
        WeightSet(
            "wardrobe",
            "clothes, hair, brows and lashes for avatars: the MakeHuman community's core assets",
            "CC0",
            0.0,
            github=GitRepository(
                "makehumancommunity/makehuman-assets",
                ("LICENSE*", "README*", "base/clothes/*", "base/hair/*", "base/eyebrows/*", "base/eyelashes/*"),
                ("*.thumb", "*.blend", "*.blend1"),
            ),
        ),
        WeightSet(
            "smplx",
            "the SMPL-X body, instead of the embedded one",
            "SMPL-X licence, non-commercial: see its page",
            0.0,
            by_hand=("SMPLX_NEUTRAL.npz",),
            page="https://smpl-x.is.tue.mpg.de",
        ),
    )
}

#: Checkpoint names that the table offers: name -> (set, folder in it).
CHECKPOINTS: dict[str, tuple[str, str]] = {"realistic-vision-v5.1": ("controlnet-sd15", "checkpoint")}


def weight_set(name: str) -> WeightSet:
    """The row of a set.

    Raises
    ------
    InputError
        There is no set of that name.
    """
    row = WEIGHTS.get(name)
    if row is None:
        raise InputError(f"There is no weight set named {name!r}.", f"Choose one of: {', '.join(WEIGHTS)}.")
    return row
