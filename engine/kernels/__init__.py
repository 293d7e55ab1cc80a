"""Likelihood, gradient and line-of-sight kernels: one folder per family, numbers in, numbers out."""

from gammasky.engine.citation import Citation

CITATIONS = (
    Citation(
        "gradients and compilation",
        r"""
        @misc{Bradbury2018,
          author = {Bradbury, James and Frostig, Roy and Hawkins, Peter and Johnson, Matthew James and Leary, Chris and Maclaurin, Dougal and Necula, George and Paszke, Adam and VanderPlas, Jake and Wanderman-Milne, Skye and Zhang, Qiao},
          title  = {{JAX}: composable transformations of {Python}+{NumPy} programs},
          year   = {2018},
          url    = {http://github.com/jax-ml/jax}
        }
        """,  # noqa: E501
    ),
    Citation(
        "compiled kernels",
        r"""
        @inproceedings{Lam2015,
          author    = {Lam, Siu Kwan and Pitrou, Antoine and Seibert, Stanley},
          title     = {Numba: a {LLVM}-based {Python} {JIT} compiler},
          booktitle = {Proceedings of the Second Workshop on the LLVM Compiler Infrastructure in HPC},
          year      = {2015},
          doi       = {10.1145/2833157.2833162}
        }
        """,
    ),
)
